"use strict";
// What a person says about each mask. A shelf keeps it: this one in the browser, until it is saved; that of live.js in
// the folder of the masks. `run` tells pages apart.
const browserShelf = (run) => {
  const store = `pseudomask-review-${run}`;
  let remembers = true;
  return {
    load() { // a Map: a photo may be called __proto__
      try {
        return new Map(JSON.parse(localStorage.getItem(store) ?? "[]"));
      } catch { // forbidden, or written by something else
        return new Map();
      }
    },
    keep(said) {
      try {
        localStorage.setItem(store, JSON.stringify([...said]));
        remembers = true;
      } catch {
        remembers = false;
      }
    },
    warning: () => (remembers ? "" : " This browser keeps nothing for this page: save before you close it."),
    listen: (heard) => addEventListener("storage", (event) => { if (event.key === store) heard(""); }), // another tab
  };
};

const makeVerdicts = (shelf, names) => {
  const known = new Set(names);
  const changes = []; // [name, what was said before], the latest last
  let said = shelf.load();

  const load = () => { said = shelf.load(); };
  function put(name, row) {
    if (row.verdict || row.note) said.set(name, row);
    else said.delete(name);
    shelf.keep(said, name);
  }
  const of = (name) => said.get(name) ?? { verdict: "", note: "" };
  function change(name, part) {
    changes.push([name, of(name)]);
    put(name, { ...of(name), ...part });
  }
  function undo() {
    const last = changes.pop();
    if (last) put(...last);
    return last?.[0];
  }
  function counts() {
    const found = { good: 0, bad: 0, unsure: 0 };
    for (const [name, row] of said) if (known.has(name) && row.verdict in found) found[row.verdict] += 1;
    const left = names.length - found.good - found.bad - found.unsure;
    return `${found.good} good, ${found.bad} bad, ${found.unsure} unsure, ${left} to do.${shelf.warning()}`;
  }
  const rows = () => names.filter((name) => said.has(name)).map((name) => [name, of(name).verdict, of(name).note]);
  function csv() {
    const cell = (text) => (/[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const lines = [["photo", "verdict", "note"], ...rows()].map((line) => `${line.map(cell).join(",")}\r\n`);
    return `\ufeff${lines.join("")}`; // spreadsheets take a file without the mark for Latin-1
  }
  return { load, of, change, undo, counts, rows, csv };
};

// The buttons, the keys and the line that tells; a panel of the page carries its row as `node.row`.
const makeReview = (rows, make, byId, live, run) => {
  const KEYS = { g: "good", b: "bad", u: "unsure" };
  const SIGNS = { good: "✓", bad: "✕", unsure: "?" };
  // The name in the file is the path itself, for a key is shown with its control characters replaced.
  function nameOf(row) {
    try {
      return decodeURIComponent(row.photo ?? row.mask.replace(/\.png$/i, ""));
    } catch { // neither file, or bytes that are no UTF-8
      return row.key;
    }
  }
  for (const row of rows) row.name = nameOf(row);
  const shelf = live ? live.shelf(rows) : browserShelf(run);
  const verdicts = makeVerdicts(shelf, rows.map((row) => row.name));
  const say = (text) => { byId("said").textContent = `${text} ${verdicts.counts()}`.trim(); };

  function paint(node) {
    const { verdict, note } = verdicts.of(node.row.name);
    node.setAttribute("aria-label", verdict ? `${node.row.key}, ${verdict}` : node.row.key);
    for (const button of node.querySelectorAll("[data-verdict]")) button.setAttribute("aria-pressed", button.dataset.verdict === verdict);
    node.querySelector(".verdicts input").value = note;
    live?.paint(node);
  }
  const repaint = () => document.querySelectorAll(".panel").forEach(paint);
  function mark(node, verdict) { // the same verdict again takes it back
    const now = verdicts.of(node.row.name).verdict === verdict ? "" : verdict;
    verdicts.change(node.row.name, { verdict: now });
    paint(node);
    say(`${node.row.key}: ${now || "no verdict"}.`);
  }
  function undo() {
    const name = verdicts.undo();
    repaint();
    if (name === undefined) say("Nothing to undo.");
    else say(`${rows.find((one) => one.name === name).key}: undone, now ${verdicts.of(name).verdict || "no verdict"}.`);
  }
  function save() {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([verdicts.csv()], { type: "text/csv" }));
    link.download = "review.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    const count = verdicts.rows().length;
    say(`Saved review.csv with ${count} ${count === 1 ? "row" : "rows"}.`);
  }

  function reach(field) {
    if (field.disabled) say(field.title);
    else field.focus();
  }
  function controls(node) {
    const group = make("div", "verdicts");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Verdict");
    for (const [key, verdict] of Object.entries(KEYS)) {
      const button = make("button", "", `${SIGNS[verdict]} ${verdict}`);
      button.type = "button";
      button.dataset.verdict = verdict;
      button.setAttribute("aria-label", `${verdict}, key ${key}`);
      button.addEventListener("click", () => mark(node, verdict));
      group.append(button);
    }
    const note = make("input");
    note.maxLength = 1000;
    note.placeholder = "note …";
    note.setAttribute("aria-label", `Note on ${node.row.key}`);
    note.addEventListener("change", () => {
      verdicts.change(node.row.name, { note: note.value.trim() });
      say(`${node.row.key}: note kept.`);
    });
    note.addEventListener("keydown", (event) => { // back to the keys of the panel
      if (event.key === "Enter" || event.key === "Escape") node.focus();
    });
    group.append(note);
    node.append(group);
    live?.controls(node, say);
    paint(node);
  }
  const FIELDS = { n: ".verdicts input", ...live?.fields };
  function shortcut(key, node) { // whether it is one
    if (key === "z") undo();
    else if (key === "s" && live) say("Everything is kept as you say it.");
    else if (key === "s") save();
    else if (!(key in KEYS) && !(key in FIELDS)) return false;
    else if (!node) say("Go to an image first: press j.");
    else if (key in FIELDS) reach(node.querySelector(FIELDS[key]));
    else mark(node, KEYS[key]);
    return true;
  }

  byId("undo").addEventListener("click", undo);
  byId("save")?.addEventListener("click", save);
  shelf.listen((news) => {
    verdicts.load();
    repaint();
    say(news);
  });
  byId("review").hidden = rows.length === 0;
  say("");
  return { of: (row) => verdicts.of(row.name).verdict, controls, shortcut };
};
