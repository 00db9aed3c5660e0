"use strict";
(() => {
  // Tables: the heads sort, the field filters.
  const key = (row, i) => {
    const cell = row.cells[i], value = cell.dataset.value;
    return value !== undefined ? Number(value) : cell.classList.contains("number") ? NaN : cell.textContent.trim().toLowerCase();
  };
  const order = (a, b, sign) => {
    if (typeof a === "number" || typeof b === "number") {
      const x = Number.isNaN(a) || typeof a !== "number", y = Number.isNaN(b) || typeof b !== "number";
      return x || y ? x - y : sign * (a - b);   // what has no value stays last in either direction
    }
    return sign * a.localeCompare(b, undefined, { numeric: true });
  };
  for (const frame of document.querySelectorAll(".table")) {
    const body = frame.querySelector("tbody"), heads = [...frame.querySelectorAll("thead th")];
    heads.forEach((head, i) => head.querySelector("button")?.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const now = was === null ? first : was === "ascending" ? "descending" : "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", now);
      const sign = now === "ascending" ? 1 : -1;
      const rows = [...body.rows].map(row => [key(row, i), row]).sort((a, b) => order(a[0], b[0], sign));
      body.append(...rows.map(pair => pair[1]));
    }));
    const field = frame.querySelector(".filter input"), count = frame.querySelector(".count");
    if (!field) continue;
    const filter = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let seen = 0;
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every(word => text.includes(word));
        seen += !row.hidden;
      }
      count.textContent = words.length ? `${seen} of ${body.rows.length} rows` : `${body.rows.length} rows`;
      frame.dispatchEvent(new CustomEvent("filtered", { bubbles: true }));
    };
    field.addEventListener("input", filter);
    filter();
  }

  // Copy buttons.
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const text = button.parentElement.querySelector("code").textContent;
      try { await navigator.clipboard.writeText(text); }
      catch {
        const area = document.createElement("textarea");   // a file URL has no clipboard in some browsers
        area.value = text; document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // One tip for all charts: an element says its text in data-tip.
  const tip = document.createElement("div");
  tip.id = "tip"; tip.hidden = true; document.body.append(tip);
  const place = (event, text) => {
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const box = tip.getBoundingClientRect(), right = event.clientX + 14 + box.width > innerWidth;
    tip.style.left = `${Math.max(4, right ? event.clientX - box.width - 14 : event.clientX + 14)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 4))}px`;
  };
  const spot = (svg, event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const heat = (svg, event) => {
    const g = JSON.parse(svg.dataset.heat), p = spot(svg, event);
    const column = Math.floor((p.x - g.x) / g.size), row = Math.floor((p.y - g.y) / g.size), k = g.names.length;
    if (row < 0 || column < 0 || row >= k || column >= k) return "";
    const n = g.counts[row]?.[column] ?? 0, total = Object.values(g.counts[row] ?? {}).reduce((a, b) => a + b, 0);
    return `${g.names[row]} taken for ${g.names[column]}\n${n} of ${total}${total ? ` (${(100 * n / total).toFixed(1)} %)` : ""}`
      .replace(row === column ? / taken for .*/ : /^$/, " recognised");
  };
  document.addEventListener("pointermove", event => {
    const target = event.target instanceof Element ? event.target : null;
    const chart = target?.closest("svg[data-heat]");
    place(event, chart ? heat(chart, event) : target?.closest("[data-tip]")?.dataset.tip);
  });
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
})();
