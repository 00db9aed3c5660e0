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
  // Lines: the values under the pointer, of the nearest line where there are more than four.
  const value = (axis, at) => { const v = axis[2] + (at - axis[0]) / (axis[1] - axis[0]) * (axis[3] - axis[2]); return axis[4] ? 10 ** v : v; };
  const pixel = (axis, v) => axis[0] + ((axis[4] ? Math.log10(v) : v) - axis[2]) / (axis[3] - axis[2]) * (axis[1] - axis[0]);
  const written = (g, v) => g.share ? `${(100 * v).toFixed(2)} %` : String(Number(v.toPrecision(4)));
  const lines = (svg, event) => {
    const g = JSON.parse(svg.dataset.lines), p = spot(svg, event);
    if (p.x < g.x[0] - 8 || p.x > g.x[1] + 8) return { text: "" };
    const at = value(g.x, p.x);
    const found = g.series.map(s => {
      let best = -1;
      s.xs.forEach((x, i) => { if (x !== null && s.ys[i] !== null && (best < 0 || Math.abs(x - at) < Math.abs(s.xs[best] - at))) best = i; });
      return best < 0 ? null : { s, x: s.xs[best], y: s.ys[best], far: Math.abs(pixel(g.y, s.ys[best]) - p.y) };
    }).filter(Boolean);
    if (!found.length) return { text: "" };
    if (found.length > 4) {
      const near = found.reduce((a, b) => b.far < a.far ? b : a);
      return { text: `${near.s.name}\n${g.label} ${near.x}: ${written(g, near.y)}`, key: near.s.key };
    }
    return { text: [`${g.label} ${found[0].x}`, ...found.map(f => `${f.s.name} ${written(g, f.y)}`)].join("\n") };
  };

  // Parallel coordinates: dragging along axes keeps the trials that pass through every span.
  for (const svg of document.querySelectorAll("svg[data-parallel]")) {
    const spans = {}, trials = [...svg.querySelectorAll(".trial")].map(path => [path, path.dataset.at.split(",").map(Number)]);
    const apply = () => {
      for (const [path, at] of trials) {
        const kept = Object.entries(spans).every(([axis, [low, high]]) => at[axis] >= low && at[axis] <= high);
        path.style.display = kept ? "" : "none";
      }
    };
    for (const brush of svg.querySelectorAll(".brush")) {
      const axis = brush.dataset.axis, band = brush.cloneNode();
      band.removeAttribute("class"); band.removeAttribute("data-axis");
      band.setAttribute("fill", "var(--s1)"); band.setAttribute("fill-opacity", ".2"); band.setAttribute("visibility", "hidden");
      brush.before(band);
      let from = null;
      brush.addEventListener("pointerdown", event => {
        from = spot(svg, event).y; brush.setPointerCapture(event.pointerId);
        delete spans[axis]; band.setAttribute("visibility", "hidden"); apply();
      });
      brush.addEventListener("pointermove", event => {
        if (from === null) return;
        const to = spot(svg, event).y, low = Math.min(from, to), high = Math.max(from, to);
        if (high - low < 3) return;
        spans[axis] = [low, high];
        band.setAttribute("y", low); band.setAttribute("height", high - low); band.setAttribute("visibility", "visible");
        apply();
      });
      brush.addEventListener("pointerup", () => { from = null; });
    }
  }

  // What has the same data-key (a table's row, its line, its dot) lights up together.
  let lit = "";
  const light = key => {
    if (key === lit) return;
    lit = key;
    for (const part of document.querySelectorAll("[data-key]")) {
      part.classList.toggle("lit", Boolean(key) && part.dataset.key === key);
      part.classList.toggle("dim", Boolean(key) && part.dataset.key !== key && part.tagName !== "TR");
    }
  };
  document.addEventListener("pointermove", event => {
    const target = event.target instanceof Element ? event.target : null;
    const matrix = target?.closest("svg[data-heat]"), curves = target?.closest("svg[data-lines]");
    const found = curves ? lines(curves, event) : { text: matrix ? heat(matrix, event) : target?.closest("[data-tip]")?.dataset.tip };
    place(event, found.text);
    light(found.key || target?.closest("[data-key]")?.dataset.key || "");
  });
  document.addEventListener("focusin", event => light(event.target.closest("[data-key]")?.dataset.key || ""));
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  // Rows that a filter hides take their lines and dots with them.
  document.addEventListener("filtered", event => {
    for (const row of event.target.querySelectorAll("tr[data-key]")) {
      for (const part of document.querySelectorAll(`svg [data-key="${CSS.escape(row.dataset.key)}"]`)) {
        part.style.display = row.hidden ? "none" : "";
      }
    }
  });
})();
