"use strict";
// Filters, a list that grows as one scrolls, and a side-by-side view. The first cards are in the page; the others are
// unpacked one block after the other, and become elements when it is their turn to be shown.
(() => {
  const STEP = 48;
  const AHEAD = 800; // pixels below the window at which more is added
  const main = document.querySelector("main");
  const byId = (id) => document.getElementById(id);
  const filters = ["kind", "tag", "quality", "verdict"].map((name) => [name, byId(`by-${name}`)]);
  const total = Number(main.dataset.count);
  const cards = [...main.querySelectorAll("article")].map((node) => ({
    node, ...node.dataset, tags: JSON.parse(node.dataset.tags),
  }));
  const choices = new Map(); // by generation, in the order in which they were made
  let compared = null;
  let limit = STEP;
  let matching = 0;

  const nodes = () => cards.map((card) => card.node).filter(Boolean);
  const picked = () => nodes().filter((node) => node.querySelector(".pick input").checked);
  const players = () => compared.map((card) => card.node.querySelector("video")).filter(Boolean);

  function fits(card) {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.every((word) => card.text.includes(word))) return false;
    return filters.every(([name, select]) => {
      const wanted = select.value;
      return !wanted || (name === "tag" ? card.tags.includes(wanted) : card[name] === wanted);
    });
  }

  function element(card) {
    if (!card.node) {
      // Rendered and escaped when the page was made; the page's policy runs no script but this one.
      const holder = document.createElement("template");
      holder.innerHTML = card.html;
      card.node = holder.content.querySelector("article");
      card.html = null;
      for (const tool of card.node.querySelectorAll(".pick, .judge")) tool.hidden = false;
    }
    return card.node;
  }

  function show() {
    const wanted = compared ?? cards.filter(fits);
    matching = wanted.length;
    const shown = new Set(compared ? wanted : wanted.slice(0, limit));
    let at = main.firstElementChild;
    for (const card of cards) {
      const visible = shown.has(card);
      if (!card.node && !visible) continue;
      const node = element(card);
      if (node === at) at = at.nextElementSibling;
      else if (!node.isConnected) main.insertBefore(node, at); // a player that is moved would stop
      node.hidden = !visible;
    }
    main.classList.toggle("comparing", Boolean(compared));
    main.style.setProperty("--takes", compared ? compared.length : 1);
    byId("shown").textContent = `${matching} of ${total} shown`;
    byId("compare").disabled = picked().length < 2;
    byId("compare").hidden = Boolean(compared);
    for (const id of ["play", "pause", "back"]) byId(id).hidden = !compared;
    more();
  }

  function compare(chosen) {
    compared = chosen;
    chosen.forEach(element);
    show();
    for (const player of players()) player.preload = "auto";
    scrollTo(0, 0);
  }

  function more() {
    const end = byId("more");
    if (!end) return;
    end.hidden = Boolean(compared) || (cards.length === total && limit >= matching);
    // The observer tells of changes only: what is still in view after growing has to be asked.
    if (!end.hidden && end.getBoundingClientRect().top < innerHeight + AHEAD) requestAnimationFrame(grow);
  }

  function grow() {
    if (compared || limit >= matching) return;
    limit += STEP;
    show();
  }

  function judge(article, verdict) {
    const { generation, folder } = article.dataset;
    if (choices.get(generation)?.verdict === verdict) choices.delete(generation);
    else choices.set(generation, { generation_id: generation, folder, verdict, said_at: new Date().toISOString() });
    for (const button of article.querySelectorAll(".judge button")) {
      button.setAttribute("aria-pressed", String(choices.get(generation)?.verdict === button.dataset.verdict));
    }
    reason(article);
  }

  function reason(article) {
    const choice = choices.get(article.dataset.generation);
    if (choice) choice.reason = article.querySelector(".why").value.trim();
    byId("save").disabled = !choices.size;
    byId("save").textContent = choices.size ? `Save ${choices.size} choices` : "Save choices";
  }

  function save() {
    const made = { file: "prefect-ltx choices", version: 1, by: byId("who").value.trim(), choices: [...choices.values()] };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(made, null, 1)], { type: "application/json" }));
    link.download = `choices-${new Date().toISOString().replace(/[-:]|\..*/g, "")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  function anew() {
    limit = STEP;
    show();
  }

  async function unpack() {
    for (const block of document.querySelectorAll("template.rest")) {
      const bytes = Uint8Array.from(atob(block.content.textContent), (character) => character.charCodeAt(0));
      block.remove();
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      for (const [kind, quality, take, tags, text, html, verdict] of await new Response(stream).json()) {
        cards.push({ kind, quality, take, tags, text, html, verdict });
      }
      await new Promise((done) => setTimeout(done));
    }
    show();
  }

  byId("tools").hidden = false;
  for (const node of document.querySelectorAll(".pick, .judge")) node.hidden = false;
  byId("search").addEventListener("input", anew);
  for (const [, select] of filters) select.addEventListener("change", anew);
  main.addEventListener("change", show);
  main.addEventListener("input", (event) => {
    if (event.target.matches(".why")) reason(event.target.closest("article"));
  });
  byId("save").addEventListener("click", save);
  main.addEventListener("click", (event) => {
    const { verdict } = event.target.dataset;
    if (verdict && event.target.matches(".judge button")) judge(event.target.closest("article"), verdict);
    const takes = event.target.dataset.takes;
    if (takes) compare(cards.filter((card) => card.take === takes));
  });
  byId("compare").addEventListener("click", () => {
    const chosen = new Set(picked());
    compare(cards.filter((card) => chosen.has(card.node)));
  });
  byId("back").addEventListener("click", () => {
    for (const player of players()) player.pause();
    compared = null;
    show();
  });
  byId("play").addEventListener("click", () => {
    for (const player of players()) { player.currentTime = 0; player.play(); }
  });
  byId("pause").addEventListener("click", () => {
    for (const player of players()) player.pause();
  });
  show();
  if (byId("more")) {
    new IntersectionObserver((seen) => {
      if (seen.some((each) => each.isIntersecting)) grow();
    }, { rootMargin: `${AHEAD}px` }).observe(byId("more"));
    unpack();
  }
})();
