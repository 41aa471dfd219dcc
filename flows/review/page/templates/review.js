"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));

  // Colours: those of the system, until the button says otherwise. A file may have no storage, so that may fail.
  const KEY = "winnow-theme";
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const kept = { get() { try { return localStorage.getItem(KEY); } catch { return null; } },
                 set(theme) { try { localStorage.setItem(KEY, theme); } catch { /* this visit only */ } } };
  const button = document.getElementById("theme");
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = dark() ? "Light colours" : "Dark colours"; };
  if (["light", "dark"].includes(kept.get())) root.dataset.theme = kept.get();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    kept.set(root.dataset.theme);
    name();
  });
  system.addEventListener("change", name);
  name();
  button.hidden = false;

  // Tables: each heading becomes a button that sorts; what is not known stays last.
  const key = (row, column, numeric) => {
    const cell = row.cells[column];
    const found = cell.dataset.value;
    if (!numeric) return cell.textContent.trim();
    return found === undefined ? null : Number(found);
  };
  function sort(table, heading, direction) {
    const column = heading.cellIndex;
    const body = table.tBodies[0];
    const numeric = Array.from(body.rows).some((row) => row.cells[column].dataset.value !== undefined);
    const sign = direction === "ascending" ? 1 : -1;
    const keyed = Array.from(body.rows, (row) => [key(row, column, numeric), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (numeric ? a - b : a.localeCompare(b, undefined, { numeric: true }));
    });
    body.append(...keyed.map(([, row]) => row));
    all("th[aria-sort]", table.tHead).forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", direction);
  }
  all("table.sortable").forEach((table) => all("th", table.tHead).forEach((heading) => {
    const press = document.createElement("button");
    press.type = "button";
    press.append(...heading.childNodes);
    heading.append(press);
    heading.setAttribute("aria-sort", "none");
    press.addEventListener("click", () => {
      sort(table, heading, heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
    });
  }));

  // Filters: a row is shown where every choice is empty or its own, and where it holds every word that is searched.
  all("[data-filters]").forEach((box) => {
    const rows = box.dataset.filters.split(" ").flatMap((id) => Array.from(document.getElementById(id).tBodies[0].rows));
    const choices = all("select", box);
    const search = box.querySelector("[data-search]");
    const texts = search ? rows.map((row) => row.textContent.toLocaleLowerCase()) : [];
    const apply = () => {
      const words = search ? search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean) : [];
      let shown = 0;
      rows.forEach((row, i) => {
        row.hidden = choices.some((choice) => choice.value && row.dataset[choice.dataset.filter] !== choice.value)
          || words.some((word) => !texts[i].includes(word));
        shown += !row.hidden;
      });
      box.querySelector("output").textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    };
    box.addEventListener("change", apply);
    box.addEventListener("input", apply);
    apply();
    box.hidden = false;
  });

  // Charts: drawn once, as their colours are CSS variables; one after the other, so that the page stays awake.
  const { charts, config } = JSON.parse(document.getElementById("data").textContent);
  const options = {
    config, actions: false, renderer: "svg", ast: true, defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };
  async function draw(within) {
    for (const box of all(".chart:not([data-drawn])", within)) {
      if (box.offsetParent === null || typeof vegaEmbed === "undefined") continue;
      box.dataset.drawn = "";
      try {
        await vegaEmbed(box, charts[box.dataset.chart], options);
      } catch (error) {
        box.textContent = `This chart cannot be drawn: ${error.message}`;
        console.error(error);
      }
    }
  }

  const choice = document.getElementById("panel-select");
  if (choice) {
    const show = () => {
      all(".panel").forEach((panel) => { panel.hidden = panel.id !== choice.value; });
      return draw(document);
    };
    choice.addEventListener("change", show);
    document.getElementById("panel-choice").hidden = false;
    all(".panel").forEach((panel) => { panel.hidden = panel.id !== choice.value; });
  }

  // What scrolls can be reached, and so scrolled, by keyboard.
  const reach = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    if (target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }));
  all(".scroll").forEach((box) => reach.observe(box));

  // On paper nothing can be unfolded.
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((one) => { one.open = true; });
  });
  window.addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));

  draw(document).then(() => { root.dataset.ready = ""; });
})();
