// A page that `pseudomask review` serves: what is said goes to the server at once, tags can be changed, and a slider
// cuts the stored scores elsewhere.
const makeLive = (live, make, byId) => {
  const RETRY = 3000; // ms
  const state = new Map(); // number → row as the server has it
  const waiting = new Map(); // number → what is still to be sent
  const numbers = new Map(); // name → number
  const titles = new Map(); // number → key
  let heard = () => {};
  let flying = false;
  let trouble = "";

  const numberOf = (row) => live.numbers[row.place];
  function learn({ rows, again }) {
    for (const [number, row] of Object.entries(rows ?? {})) state.set(Number(number), row);
    if (again) show(again);
  }
  function show(again) {
    const marked = [...state.values()].filter((row) => row.marked).length;
    byId("again").hidden = marked === 0;
    byId("marked").textContent = marked === 1 ? "1 photo has new tags." : `${marked} photos have new tags.`;
    byId("command").textContent = again.join("\n");
  }
  async function ask(what, body) {
    const answer = await fetch(what, body && {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const type = answer.headers.get("Content-Type") ?? "";
    return { status: answer.status, content: type.startsWith("application/json") ? await answer.json() : {} };
  }

  // One change at a time, so that each is told how often its row changed before.
  async function send() {
    if (flying) return;
    flying = true;
    while (waiting.size) {
      const [number, whole] = waiting.entries().next().value;
      waiting.delete(number);
      const { tags, ...said } = whole;
      const both = tags !== undefined && Object.keys(said).length > 0;
      const change = both ? said : whole; // refused tags take no verdict with them
      if (both) waiting.set(number, { tags });
      const title = titles.get(number);
      const again = (why, seconds) => {
        waiting.set(number, { ...change, ...waiting.get(number) });
        trouble = ` NOT SAVED: ${why}`;
        flying = false;
        heard("");
        if (seconds) setTimeout(send, seconds);
      };
      let answer;
      try {
        answer = await ask("say", { photo: number, seen: state.get(number).seen, ...change });
      } catch {
        again("the server does not answer; is `pseudomask review` still running?", RETRY);
        return;
      }
      const { status, content } = answer;
      if (status === 403 || status === 404) {
        again("this page is of an earlier server; open the address that the new one printed.");
        return;
      }
      if (status >= 500) {
        again(`${content.error ?? "the server failed"}.`, RETRY);
        return;
      }
      const was = trouble;
      trouble = "";
      learn(content);
      if (status === 409) {
        waiting.delete(number);
        const now = state.get(number);
        heard(`${title}: changed elsewhere in the meantime, now ${now.verdict || "no verdict"}. Your change was not made.`);
      } else if (status !== 200) heard(`${title}: ${content.error ?? "refused"}`);
      else if (was) heard("Saved.");
      else if ("tags" in change) heard(`${title}: tags ${state.get(number).tags || "none"}${state.get(number).marked ? ", to be extracted again" : ""}.`);
      if ("tags" in change) refused(number, status === 422);
    }
    flying = false;
  }
  function put(number, change) {
    waiting.set(number, { ...waiting.get(number), ...change });
    send();
  }
  async function look() { // what other tabs, and other programs, wrote
    if (flying || waiting.size) return;
    try {
      const { status, content } = await ask("state");
      if (status !== 200 || flying || waiting.size) return;
      learn(content);
      heard("");
    } catch { /* told when something is said */ }
  }

  const panelOf = (number) => [...document.querySelectorAll(".panel")].find((one) => numberOf(one.row) === number);
  function refused(number, yes) {
    const field = panelOf(number)?.querySelector(".tags");
    if (!field) return;
    field.setAttribute("aria-invalid", yes);
    if (yes) field.focus();
    else paint(panelOf(number));
  }

  const shelf = (rows) => {
    for (const row of rows) {
      numbers.set(row.name, numberOf(row));
      titles.set(numberOf(row), row.key);
    }
    return {
      load: () => new Map(rows.map((row) => [row.name, { ...state.get(numberOf(row)), ...waiting.get(numberOf(row)) }])
        .filter(([, row]) => row.verdict || row.note).map(([name, { verdict, note }]) => [name, { verdict, note }])),
      keep: (said, name) => put(numbers.get(name), said.get(name) ?? { verdict: "", note: "" }),
      warning: () => trouble,
      listen: (listener) => { heard = listener; },
    };
  };

  function cut(node, slider, output, back) {
    const figure = node.querySelector('figure[data-kind="mask"]');
    const caption = figure.querySelector("figcaption a") ?? figure.querySelector("figcaption");
    let busy = false;
    let wanted = null;
    const plain = picture(node.row, "mask");
    function draw() {
      const image = figure.querySelector(".over, .alone");
      if (busy || wanted === null || !image) return;
      const source = wanted;
      wanted = null;
      busy = true;
      image.addEventListener("load", () => { busy = false; draw(); }, { once: true });
      image.src = source;
    }
    function at(value) {
      output.textContent = value === null ? "as made" : Number(value).toFixed(2);
      caption.textContent = value === null ? "mask" : `scores above ${Number(value).toFixed(2)}`;
      back.disabled = value === null;
      wanted = value === null ? plain : `${plain}?above=${value}`;
      draw();
    }
    slider.addEventListener("input", () => at(slider.value));
    const reset = () => { slider.value = live.threshold ?? 0.5; at(null); };
    back.addEventListener("click", () => { reset(); node.focus(); });
    slider.addEventListener("keydown", (event) => {
      if (event.key === "Escape") reset();
      if (event.key === "Enter" || event.key === "Escape") node.focus();
    });
  }

  function labelled(text, ...fields) {
    const label = make("label", "", text);
    label.append(...fields);
    return label;
  }
  function controls(node) {
    const group = make("div", "live");
    const tags = make("input", "tags");
    tags.type = "text";
    tags.setAttribute("aria-label", `Tags of ${node.row.key}, key t`);
    tags.placeholder = "tags; separated by ;";
    tags.disabled = !live.tags;
    if (!live.tags) tags.title = "Tags cannot be changed here: no record says how these masks were made.";
    tags.addEventListener("change", () => put(numberOf(node.row), { tags: tags.value }));
    tags.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        tags.removeAttribute("aria-invalid");
        paint(node);
      }
      if (event.key === "Enter" || event.key === "Escape") node.focus();
    });
    group.append(labelled("tags", tags));

    const slider = make("input", "cut");
    Object.assign(slider, { type: "range", min: 0, max: 1, step: 0.01 });
    slider.value = live.threshold ?? 0.5;
    slider.setAttribute("aria-label", `Threshold of the scores of ${node.row.key}, key c`);
    const output = make("output", "", "as made");
    const back = make("button", "", "mask as made");
    back.type = "button";
    back.disabled = true;
    if (node.row.scores === null || node.row.mask === null) {
      slider.disabled = true;
      slider.title = output.textContent = "no stored scores to cut";
      group.append(labelled("threshold", slider, output));
    } else {
      group.append(labelled("threshold", slider, output), back);
      cut(node, slider, output, back);
    }
    node.append(group);
  }
  function paint(node) {
    const row = state.get(numberOf(node.row));
    const field = node.querySelector(".tags");
    if (field.getAttribute("aria-invalid") !== "true") field.value = waiting.get(numberOf(node.row))?.tags ?? row.tags;
    node.classList.toggle("marked", row.marked);
  }

  const picture = (row, kind) => `${kind}/${numberOf(row)}`;
  addEventListener("focus", look);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  addEventListener("beforeunload", (event) => { if (flying || waiting.size) event.preventDefault(); });
  learn(live.state);
  return { shelf, picture, controls, paint, fields: { t: ".tags", c: ".cut" } };
};
