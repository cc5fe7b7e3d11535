"use strict";
(() => {
  const buttons = [...document.querySelectorAll("nav button")];
  const select = document.getElementById("section");
  const cards = [...document.querySelectorAll("article")];
  const sections = [...document.querySelectorAll("main section")];
  const state = { verdict: "", section: "" };

  function show() {
    let shown = 0;
    for (const section of sections) {
      let inside = 0;
      const open = !state.section || section.dataset.section === state.section;
      for (const card of section.querySelectorAll("article")) {
        const visible = open && (!state.verdict || card.dataset.verdict === state.verdict);
        card.hidden = !visible;
        inside += visible;
      }
      section.hidden = !inside;
      shown += inside;
    }
    for (const b of buttons) b.setAttribute("aria-pressed", String(b.dataset.verdict === state.verdict));
    document.getElementById("count").textContent = `${shown} of ${cards.length}`;
    document.getElementById("none").hidden = shown > 0;
  }

  for (const b of buttons) b.addEventListener("click", () => { state.verdict = b.dataset.verdict; show(); });
  select.addEventListener("change", () => { state.section = select.value; show(); });
})();
