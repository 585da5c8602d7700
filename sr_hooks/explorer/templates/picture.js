// Click or drag on the picture: the two corners go to Python as shares of the picture's sides.
// The handlers stand on the element itself, since its content is replaced.
const DRAG = 5;  // pixels of the screen from which a press is a drag
let start = null, count = 0;

function position(event) {
  const box = element.querySelector('.canvas').getBoundingClientRect();
  const share = (value, from, side) => Math.min(Math.max((value - from) / side, 0), 1);
  return {y: share(event.clientY, box.top, box.height), x: share(event.clientX, box.left, box.width),
          clientY: event.clientY, clientX: event.clientX};
}

function isDrag(end) {
  return Math.abs(end.clientY - start.clientY) >= DRAG || Math.abs(end.clientX - start.clientX) >= DRAG;
}

function finish() {
  start = null;
  const drag = element.querySelector('.drag');
  if (drag) drag.hidden = true;
}

element.addEventListener('pointerdown', (event) => {
  if (event.button !== 0 || !event.target.closest('.canvas')) return;
  start = position(event);
  event.target.setPointerCapture(event.pointerId);
  event.preventDefault();
});

element.addEventListener('pointermove', (event) => {
  if (!start) return;
  const end = position(event), drag = element.querySelector('.drag');
  drag.hidden = !isDrag(end);
  drag.style.top = `${100 * Math.min(start.y, end.y)}%`;
  drag.style.left = `${100 * Math.min(start.x, end.x)}%`;
  drag.style.height = `${100 * Math.abs(end.y - start.y)}%`;
  drag.style.width = `${100 * Math.abs(end.x - start.x)}%`;
});

element.addEventListener('pointerup', (event) => {
  if (!start) return;
  const begin = start, end = position(event), corner = isDrag(end) ? end : begin;
  finish();
  trigger('chosen', {top: begin.y, left: begin.x, bottom: corner.y, right: corner.x,
                     at: Date.now() + (count++ % 1000) / 1000});  // events of one millisecond in their order
});

element.addEventListener('pointercancel', finish);
