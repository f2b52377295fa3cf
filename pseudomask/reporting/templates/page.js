(() => {
  const COLUMNS = ["key", "iou", "classes", "ious", "margin", "ignored", "area", "empty", "photo", "scores", "mask", "truth", "unrefined"];
  const PAGE = 20;
  const byId = (id) => document.getElementById(id);
  const meta = JSON.parse(byId("meta").textContent);
  const rows = [];
  for (const island of document.querySelectorAll("script.rows")) {
    for (const values of JSON.parse(island.textContent)) {
      const row = { place: rows.length };
      COLUMNS.forEach((name, i) => { row[name] = values[i]; });
      rows.push(row);
    }
    island.remove();
  }

  // Text only ever goes in as text: names of photos and classes may hold markup.
  const make = (tag, style, text) => {
    const node = document.createElement(tag);
    if (style) node.className = style;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const live = meta.live ? makeLive(meta.live, make, byId) : null;
  const review = makeReview(rows, make, byId, live, meta.run);
  const percent = (share) => (share === null || share === undefined ? "–" : (100 * share).toFixed(1));

  const up = (name) => (a, b) => (a[name] ?? Infinity) - (b[name] ?? Infinity) || a.place - b.place;
  const down = (name) => (a, b) => (b[name] ?? -Infinity) - (a[name] ?? -Infinity) || a.place - b.place;
  const ORDERS = {
    worst: (a, b) => a.place - b.place,
    best: down("iou"),
    empty: (a, b) => b.empty.length - a.empty.length || a.place - b.place,
    margin: up("margin"),
    ignored: down("ignored"),
    small: up("area"),
    large: down("area"),
    name: (a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0),
  };
  const iouOf = (row, label) => row.ious[row.classes.indexOf(label)] ?? null;

  function chosen() {
    const label = byId("class").value === "" ? null : Number(byId("class").value);
    const part = byId("name").value.trim().toLowerCase();
    const order = byId("sort").value;
    const verdict = byId("verdict").value;
    const found = rows.filter((row) =>
      (verdict === "" || (review.of(row) || "none") === verdict) &&
      (label === null || row.classes.includes(label)) && (!part || row.key.toLowerCase().includes(part)));
    if (label !== null && meta.truth && (order === "worst" || order === "best")) {
      const sign = order === "worst" ? 1 : -1; // of one class, its own IoU counts
      return found.sort((a, b) => sign * ((iouOf(a, label) ?? 2) - (iouOf(b, label) ?? 2)) || a.place - b.place);
    }
    return found.sort(ORDERS[order]);
  }

  const KINDS = ["photo", "scores", "mask", "truth"].filter((kind) => rows.some((row) => row[kind] !== null));
  const LABELS = { photo: "photo", scores: "scores", mask: "mask", truth: "truth" };
  function file(row, kind) {
    if (row[kind] === null) return null;
    if (live) return live.picture(row, kind);
    return kind in meta.folders ? meta.folders[kind] + row[kind] : null;
  }

  function picture(source, style, text) {
    const image = make("img", style);
    image.loading = "lazy";
    image.decoding = "async";
    image.alt = text;
    image.addEventListener("error", () => image.replaceWith(make("p", "", `${text}: the file is not where it was`)));
    image.src = source;
    return image;
  }

  function view(row, kind, inside) {
    const figure = make("figure");
    figure.dataset.kind = kind;
    const box = make("div", "box");
    const link = file(row, kind);
    const photo = inside.photo ?? file(row, "photo");
    let own = inside[kind] ?? null;
    let style = "";
    if (live) own = link; // drawn by the server
    else if (own === null && link !== null && kind !== "scores") {
      own = link;
      style = kind === "photo" ? "" : " file sharp";
    }
    if (!style && (kind === "mask" || kind === "truth")) style = " sharp";
    if (own !== null && kind !== "photo" && photo !== null) box.append(picture(photo, "under", ""));
    const over = kind === "photo" ? "alone" : photo === null ? "alone" : "over";
    if (own !== null) box.append(picture(own, over + style, `${LABELS[kind]} of ${row.key}`));
    else box.append(make("p", "", link === null ? "none" : "too many to hold in this page: open the file"));
    const caption = make("figcaption");
    if (link === null) caption.textContent = LABELS[kind];
    else {
      const anchor = make("a", "", LABELS[kind]);
      anchor.href = link;
      anchor.tabIndex = -1; // the panel is the stop; its files are a click away
      caption.append(anchor);
    }
    figure.append(box, caption);
    return figure;
  }

  function chip(row, label, i) {
    const node = make("span", row.empty.includes(label) ? "chip empty" : "chip");
    const dot = make("i");
    dot.style.background = meta.colours[label] ?? "transparent";
    const share = row.ious[i];
    node.append(dot, `${meta.names[label] ?? label}${share === undefined ? "" : ` ${percent(share)}`}`);
    if (row.empty.includes(label)) node.title = "tag present but no pixel";
    return node;
  }

  function panel(row) {
    const node = make("article", "panel");
    node.tabIndex = -1;
    node.dataset.key = row.key;
    node.row = row;
    const head = make("div", "head");
    head.append(make("h3", "title", row.key));
    const signs = [];
    if (row.unrefined) signs.push("not refined");
    if (row.empty.length) signs.push(`${row.empty.length} without a pixel`);
    if (row.margin !== null) signs.push(`margin ${row.margin.toFixed(2)}`);
    if (row.ignored) signs.push(`${percent(row.ignored)} % ignored`);
    if (row.area !== null) signs.push(`${percent(row.area)} % covered`);
    if (signs.length) head.append(make("span", "signs", signs.join(" · ")));
    if (meta.truth) head.append(make("span", "score", row.iou === null ? "no IoU" : `IoU ${percent(row.iou)}`));
    const chips = make("div", "chips");
    row.classes.forEach((label, i) => { if (label || row.classes.length === 1) chips.append(chip(row, label, i)); });
    row.empty.filter((label) => !row.classes.includes(label)).forEach((label) => chips.append(chip(row, label, -1)));
    head.append(chips);
    const island = byId(`t${row.place}`);
    const inside = island ? JSON.parse(island.textContent) : {};
    const views = make("div", "views");
    for (const kind of KINDS) views.append(view(row, kind, inside));
    node.append(head, views);
    review.controls(node);
    for (const one of node.querySelectorAll("button, input")) one.tabIndex = -1; // until one is at this panel
    return node;
  }

  const watcher = new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) more(); }, { rootMargin: "1200px" });
  function watch() { // restarted after each piece: an observer does not report what stays in view
    watcher.disconnect();
    watcher.observe(byId("more"));
  }
  const list = byId("panels");
  list.style.setProperty("--views", KINDS.length || 1);
  let shown = [];
  function more(count = PAGE) {
    const start = list.children.length;
    const piece = document.createDocumentFragment();
    for (const row of shown.slice(start, start + count)) piece.append(panel(row));
    list.append(piece);
    if (list.children.length < shown.length) watch();
  }
  function renew() {
    shown = chosen();
    list.replaceChildren();
    more();
    if (list.firstChild) stop(list.firstChild);
    if (list.children.length >= shown.length) watcher.disconnect();
    const all = rows.length === 1 ? "1 image" : `${rows.length.toLocaleString("en")} images`;
    byId("count").textContent = shown.length === rows.length ? all : `${shown.length.toLocaleString("en")} of ${all}`;
  }
  function mix() {
    const value = byId("mix").value;
    document.documentElement.style.setProperty("--mix", value / 100);
    byId("mix").setAttribute("aria-valuetext", `${value} %`);
  }

  // One panel at a time can be reached with Tab, with its controls; j, k and the arrows move it.
  function stop(node) {
    for (const one of list.querySelectorAll('[tabindex="0"]')) one.tabIndex = -1;
    for (const one of [node, ...node.querySelectorAll("button, input")]) one.tabIndex = 0;
  }
  list.addEventListener("focusin", (event) => stop(event.target.closest(".panel")));
  function go(step) {
    const now = document.activeElement.closest(".panel");
    const place = now ? [...list.children].indexOf(now) + step : step > 0 ? 0 : -1;
    if (place >= list.children.length) more();
    const next = list.children[place];
    if (!next) return;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "start" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, pre")) return;
    const inside = event.target.closest(".panel");
    if (event.key === "j" || (inside && event.key === "ArrowDown")) go(1);
    else if (event.key === "k" || (inside && event.key === "ArrowUp")) go(-1);
    else if (event.repeat || !review.shortcut(event.key, inside)) return;
    event.preventDefault();
  });

  const kept = (value) => { // a browser may forbid pages on disk to remember
    try { return value === undefined ? localStorage.getItem("pseudomask-theme") : localStorage.setItem("pseudomask-theme", value); } catch { return null; }
  };
  const root = document.documentElement;
  if (kept()) root.dataset.theme = kept();
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept(root.dataset.theme);
  });

  byId("mix").addEventListener("input", mix);
  byId("name").addEventListener("input", renew);
  for (const id of ["sort", "class", "verdict"]) byId(id).addEventListener("change", renew);
  document.addEventListener("DOMContentLoaded", () => {
    mix();
    renew();
  });
})();
