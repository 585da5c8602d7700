"use strict";
(() => {
  // Pages: the section that the address names, the overview otherwise.
  const sections = [...document.querySelectorAll("main > section")];
  const links = [...document.querySelectorAll("nav a")];
  const route = () => {
    const wanted = decodeURIComponent(location.hash.slice(1));
    const target = wanted ? document.getElementById(wanted) : null;
    const section = (target && target.closest("main > section")) || sections[0];
    for (const s of sections) s.classList.toggle("shown", s === section);
    for (const a of links) {
      if (a.getAttribute("href") === "#" + section.id) a.setAttribute("aria-current", "page");
      else a.removeAttribute("aria-current");
    }
    const details = target && target.closest("details");
    if (details) details.open = true;
    // After the browser's own jump, which came before the section was shown.
    requestAnimationFrame(() => { if (target && target !== section) target.scrollIntoView(); else scrollTo(0, 0); });
  };
  document.body.classList.add("routed");
  addEventListener("hashchange", route);
  route();

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

  // Sliders: input at the left of the edge, map at the right.
  for (const slider of document.querySelectorAll("input.wipe")) {
    const frame = slider.parentElement.querySelector(".frame");
    const move = () => {
      frame.querySelector(".over").style.clipPath = `inset(0 0 0 ${slider.value}%)`;
      frame.querySelector(".edge").style.left = `${slider.value}%`;
    };
    slider.addEventListener("input", move);
    move();
  }

  // Tips: text only, whatever a name holds.
  const tip = document.getElementById("tip");
  const show = (event) => {
    const mark = event.target.closest && event.target.closest("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const right = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(right, 4)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  };
  document.addEventListener("mousemove", show);
})();
