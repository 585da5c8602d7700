"use strict";
(() => {
  // Pages: the section that the address names, the overview otherwise.
  const sections = [...document.querySelectorAll("main > section")];
  const links = [...document.querySelectorAll("nav a")];
  const bar = document.querySelector(".bar");
  const route = () => {
    const wanted = decodeURIComponent(location.hash.slice(1));
    const target = wanted ? document.getElementById(wanted) : null;
    const section = (target && target.closest("main > section")) || sections[0];
    for (const s of sections) s.classList.toggle("shown", s === section);
    for (const a of links) {
      if (a.getAttribute("href") === "#" + section.id) a.setAttribute("aria-current", "page");
      else a.removeAttribute("aria-current");
    }
    bar.hidden = !section.classList.contains("place");
    stopBlinking();
    hideTip();
    const details = target && target.closest("details");
    if (details) details.open = true;
    // After the browser's own jump, which came before the section was shown.
    requestAnimationFrame(() => {
      if (target && target !== section) scrollTo(0, target.getBoundingClientRect().top + scrollY - bar.offsetHeight - 8);
      else scrollTo(0, 0);
    });
  };

  // Tables: a click on a head sorts by it, a second one the other way.
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = Number(text);
    return text !== "" && !Number.isNaN(number) ? number : text;
  };
  const order = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a.localeCompare(b);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => (down ? -1 : 1) * order(value(a, column), value(b, column)));
        table.tBodies[0].append(...rows);
      });
    });
  }

  // One slider for the opacity of all maps, and one close-up for all.
  const root = document.documentElement.style;
  const opacity = document.getElementById("opacity");
  const closeup = document.getElementById("closeup");
  const panels = [];
  for (const layers of document.querySelectorAll(".layers[data-centre]")) layers.style.transformOrigin = layers.dataset.centre;
  const fade = () => root.setProperty("--opacity", opacity.value / 100);
  opacity.addEventListener("input", fade);
  closeup.addEventListener("change", () => {
    root.setProperty("--closeup", closeup.value);
    for (const panel of panels) panel.draw();
  });
  fade();

  // Two networks in one place: the left one at the left of the edge, the right one at the right; or one after the other.
  let timer = null;
  const stopBlinking = () => {
    clearInterval(timer);
    timer = null;
    for (const panel of panels) panel.rest();
  };
  const makePanel = (box) => {
    const section = box.closest("section");
    const find = (name) => box.querySelector(name);
    const slider = find(".wipe"), blink = find(".blink"), now = find(".now");
    const [left, right] = [find(".a"), find(".b")];
    const [maps, outputs] = box.querySelectorAll(".frame");
    const entry = (select) => section.querySelector("#map-" + select.value);
    const name = (select) => select.selectedOptions[0].textContent;
    let whole = null; // "a" or "b" where one network alone is shown
    const draw = () => {
      const edge = whole === "a" ? 100 : whole === "b" ? 0 : Number(slider.value);
      const zoom = Number(closeup.value);
      const centre = parseFloat(maps.querySelector(".layers").style.transformOrigin);
      const inside = zoom === 1 ? edge : Math.min(Math.max(centre + (edge - centre) / zoom, 0), 100);
      for (const [frame, at] of [[maps, whole ? edge : inside], [outputs, edge]]) {
        frame.querySelector(".over").style.clipPath = `inset(0 0 0 ${at}%)`;
        frame.querySelector(".under").style.clipPath = `inset(0 ${100 - at}% 0 0)`;
        frame.querySelector(".edge").style.left = `${edge}%`;
      }
      now.textContent = whole ? `shown: ${name(whole === "a" ? left : right)}` : `${name(left)} | ${name(right)}`;
    };
    const load = () => {
      maps.querySelector(".base").src = entry(left).querySelector(".base").src;
      maps.querySelector(".layers").style.transformOrigin = entry(left).querySelector(".layers").dataset.centre;
      for (const [select, layer] of [[left, ".under"], [right, ".over"]]) {
        maps.querySelector(layer).src = entry(select).querySelector(".map").src;
        outputs.querySelector(layer).src = entry(select).querySelector(".patch").src;
      }
      draw();
    };
    const flip = () => { whole = whole === "a" ? "b" : "a"; draw(); };
    const panel = { draw, rest: () => { whole = null; blink.setAttribute("aria-pressed", "false"); draw(); } };
    panels.push(panel);
    slider.addEventListener("input", () => { if (timer !== null) stopBlinking(); whole = null; draw(); });
    left.addEventListener("change", load);
    right.addEventListener("change", load);
    find(".flip").addEventListener("click", () => { if (timer !== null) stopBlinking(); flip(); });
    blink.addEventListener("click", () => {
      const wasOn = timer !== null;
      stopBlinking();
      if (wasOn) return;
      blink.setAttribute("aria-pressed", "true");
      flip();
      timer = setInterval(flip, 800);
    });
    load();
  };
  document.querySelectorAll(".inplace").forEach(makePanel);

  // Tips: text only, whatever a name holds; of a point of DDR its patch too.
  const tip = document.getElementById("tip");
  let focused = null; // what the tip stays at when the page scrolls
  const hideTip = () => {
    tip.hidden = true;
    focused = null;
    for (const told of document.querySelectorAll("[aria-describedby=tip]")) told.removeAttribute("aria-describedby");
    for (const point of document.querySelectorAll(".on")) point.classList.remove("on");
  };
  const patchOf = (mark) => {
    const plot = mark.closest("[data-sheet]");
    if (!plot || mark.dataset.thumb === undefined) return null;
    const sheet = document.getElementById(plot.dataset.sheet);
    const side = Number(sheet.dataset.side), columns = Number(sheet.dataset.columns), index = Number(mark.dataset.thumb);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const corner = [(index % columns) * side, Math.floor(index / columns) * side];
    canvas.getContext("2d").drawImage(sheet, ...corner, side, side, 0, 0, side, side);
    return canvas;
  };
  const showTip = (mark, x, y) => {
    focused = null;
    tip.textContent = mark.dataset.tip;
    const patch = patchOf(mark);
    if (patch) tip.append(patch);
    tip.hidden = false;
    const right = Math.min(x + 14, innerWidth - tip.offsetWidth - 8);
    const below = y + 16 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 12 : y + 16;
    tip.style.left = `${Math.max(right, 8)}px`;
    tip.style.top = `${Math.max(below, 8)}px`;
  };
  const showAt = (mark) => {
    const box = mark.getBoundingClientRect();
    showTip(mark, box.left, box.bottom - 8);
    focused = mark;
  };
  const marked = (event) => event.target.closest && event.target.closest("[data-tip]");
  for (const kind of ["pointermove", "pointerdown"]) {
    document.addEventListener(kind, (event) => {
      const mark = marked(event);
      if (mark) showTip(mark, event.clientX, event.clientY);
      else hideTip();
    });
  }
  document.addEventListener("focusin", (event) => {
    const mark = marked(event);
    if (!mark || !mark.matches(":focus-visible")) return;
    mark.setAttribute("aria-describedby", "tip");
    showAt(mark);
  });
  document.addEventListener("focusout", hideTip);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  addEventListener("scroll", () => { if (focused) showAt(focused); }, { passive: true });

  // Scatter plots: the arrow keys go from point to point.
  for (const plot of document.querySelectorAll("svg.scatter")) {
    const points = [...plot.querySelectorAll("[data-tip]")];
    let at = -1;
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step || !points.length) return;
      event.preventDefault();
      hideTip();
      at = at < 0 ? (step > 0 ? 0 : points.length - 1) : (at + step + points.length) % points.length;
      points[at].classList.add("on");
      showAt(points[at]);
    });
  }

  document.body.classList.add("routed");
  addEventListener("hashchange", route);
  route();
})();
