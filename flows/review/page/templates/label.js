"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const { columns, rows, labels, chosen, name } = JSON.parse(at("data").textContent).labelling;
  const KEYS = 9;
  const LABEL = columns.indexOf("label");
  // A target as the csv has it, by row: a label, a list of them as JSON, a number; what is missing is not labelled.
  const key = `winnow-label-${name}-${rows.map((row) => row.cells[0]).join("-")}`;
  const kept = {
    get() { try { return JSON.parse(localStorage.getItem(key)) || {}; } catch { return {}; } },
    set(found) { try { localStorage.setItem(key, JSON.stringify(found)); } catch { /* this visit only */ } },
  };
  const given = kept.get();
  let place = 0;
  let saved = true;

  // Few labels keep their keys; of many the likeliest of the row have one.
  const keyed = (row) => (labels.length <= KEYS ? labels : row.likeliest);
  const several = (target) => (target === undefined ? [] : JSON.parse(target));
  const isOn = (label) => (chosen === "several" ? several(given[place]).includes(label) : given[place] === label);

  function keep(target) {
    if (target === undefined) delete given[place]; else given[place] = target;
    saved = false;
    kept.set(given);
  }
  function go(to) {
    place = Math.min(Math.max(to, 0), rows.length - 1);
    show();
  }
  function give(label) {
    if (chosen !== "several") { keep(label); go(place + 1); return; }
    const on = several(given[place]);
    keep(JSON.stringify(on.includes(label) ? on.filter((one) => one !== label) : [...on, label].sort()));
    show();
  }
  function button(label, number, row) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = label;
    made.setAttribute("aria-pressed", String(isOn(label)));
    const suggested = chosen === "several" ? several(row.suggestion) : [row.suggestion];
    if (suggested.includes(label)) made.classList.add("suggested");
    if (number) {
      const sign = document.createElement("kbd");
      sign.textContent = number;
      made.prepend(sign, " ");
    }
    made.addEventListener("click", () => give(label));
    return made;
  }
  function show() {
    const row = rows[place];
    at("texts").replaceChildren(...row.texts.map((text) => {
      const part = document.createElement("p");
      part.dir = "auto";
      part.textContent = text;
      return part;
    }));
    const sure = row.probability === null ? "" : ` (${(100 * row.probability).toFixed(1)}%)`;
    at("suggestion").textContent = row.suggestion === null ? "" : `The model suggests ${row.suggestion}${sure}.`;
    const first = keyed(row).slice(0, KEYS);
    const on = chosen === "several" ? several(given[place]) : labels.length && given[place] !== undefined ? [given[place]] : [];
    const others = on.filter((label) => !first.includes(label));
    at("choices").replaceChildren(...first.map((label, i) => button(label, String(i + 1), row)),
      ...others.map((label) => button(label, "", row)));
    at("entry").value = chosen === "number" ? given[place] ?? "" : "";
    at("wrong").textContent = "";
    const done = Object.keys(given).length;
    at("progress").textContent = `Row ${place + 1} of ${rows.length}; ${done} labelled.`;
  }
  function entered() {
    const text = at("entry").value.trim();
    if (chosen === "number") {
      if (!text) { at("wrong").textContent = "Type a number."; return; }
      if (!Number.isFinite(Number(text))) { at("wrong").textContent = `${text} is no number, such as 3.5.`; return; }
      keep(text);
      go(place + 1);
      at("entry").focus();
      return;
    }
    const matching = labels.filter((label) => label.toLowerCase().includes(text.toLowerCase()));
    const label = labels.includes(text) ? text : matching.length === 1 ? matching[0] : null;
    if (label === null) { at("wrong").textContent = matching.length ? `${matching.length} labels have that in them.` : `No label has that in it.`; return; }
    at("entry").blur();
    give(label);
  }
  function csv() {
    const cell = (text) => (/[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text);
    const formula = (text) => (/^[=+\-@\t\r]/.test(text) && !/^[-+]?\d+([.,]\d+)?(e[-+]?\d+)?$/i.test(text) ? `'${text}` : text);
    const lines = rows.map((row, i) => row.cells.map((text, column) => (column === LABEL ? formula(given[i] ?? "") : text)));
    return [columns, ...lines].map((line) => `${line.map(cell).join(",")}\n`).join("");
  }
  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = name;
    link.click();
    saved = true;
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  at("back").addEventListener("click", () => go(place - 1));
  at("next").addEventListener("click", () => go(place + 1));
  at("clear").addEventListener("click", () => { keep(undefined); show(); });
  at("download").addEventListener("click", download);
  at("labels").replaceChildren(...labels.map((label) => { const one = document.createElement("option"); one.value = label; return one; }));
  at("entry").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); entered(); }
    if (event.key === "Escape") at("entry").blur();
    event.stopPropagation();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = rows[place];
    const label = /^[1-9]$/.test(event.key) ? keyed(row)[Number(event.key) - 1] : undefined;
    if (label !== undefined && chosen !== "number") give(label);
    else if (event.key === "Enter" && event.target.tagName !== "BUTTON") {
      if (chosen === "one" && row.suggestion !== null) give(row.suggestion);
      if (chosen === "several") { if (given[place] === undefined) keep("[]"); go(place + 1); }
    } else if (event.key === "ArrowLeft") go(place - 1);
    else if (event.key === "ArrowRight") go(place + 1);
    else if (event.key === "Backspace") { keep(undefined); show(); }
    else if (event.key === "/") at("entry").focus();
    else if (event.key.toLowerCase() === "d") download();
    else return;
    event.preventDefault();
  });
  window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
  go(rows.findIndex((_, i) => given[i] === undefined));
  if (chosen === "number") at("entry").focus();
})();
