"use strict";
// Filters and a side-by-side view over the cards that are there; without this script the page shows them all.
(() => {
  const main = document.querySelector("main");
  const cards = [...main.querySelectorAll("article")];
  const byId = (id) => document.getElementById(id);
  const filters = ["kind", "tag", "quality"].map((name) => [name, byId(`by-${name}`)]);
  let compared = null;

  const picked = () => cards.filter((card) => card.querySelector(".pick input").checked);
  const players = () => compared.map((card) => card.querySelector("video")).filter(Boolean);

  function fits(card) {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.every((word) => card.dataset.text.includes(word))) return false;
    return filters.every(([name, select]) => {
      const wanted = select.value;
      return !wanted || (name === "tag" ? JSON.parse(card.dataset.tags).includes(wanted) : card.dataset[name] === wanted);
    });
  }

  function show() {
    let shown = 0;
    for (const card of cards) {
      card.hidden = compared ? !compared.includes(card) : !fits(card);
      shown += !card.hidden;
    }
    main.classList.toggle("comparing", Boolean(compared));
    main.style.setProperty("--takes", compared ? compared.length : 1);
    byId("shown").textContent = `${shown} of ${cards.length} shown`;
    byId("compare").disabled = picked().length < 2;
    byId("compare").hidden = Boolean(compared);
    for (const id of ["play", "pause", "back"]) byId(id).hidden = !compared;
  }

  function compare(chosen) {
    compared = chosen;
    for (const player of players()) player.preload = "auto";
    show();
    scrollTo(0, 0);
  }

  byId("tools").hidden = false;
  for (const element of document.querySelectorAll(".pick")) element.hidden = false;
  byId("search").addEventListener("input", show);
  for (const [, select] of filters) select.addEventListener("change", show);
  main.addEventListener("change", show);
  main.addEventListener("click", (event) => {
    const takes = event.target.dataset.takes;
    if (takes) compare(cards.filter((card) => card.dataset.take === takes));
  });
  byId("compare").addEventListener("click", () => compare(picked()));
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
})();
