"use strict";
// Without scripts the page shows all samples; with them they can be filtered.
(() => {
  const filters = document.getElementById("filters");
  if (filters) {
    const kind = document.getElementById("filter-kind");
    const group = document.getElementById("filter-group");
    const count = document.getElementById("filter-count");
    const cards = [...document.querySelectorAll(".card")];
    const apply = () => {
      let shown = 0;
      for (const card of cards) {
        const fits = (!kind.value || card.dataset.kind === kind.value)
          && (!group.value || card.dataset.groups.split(" ").includes(group.value));
        card.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      count.textContent = `${shown} of ${cards.length} shown`;
    };
    filters.hidden = false;
    filters.addEventListener("change", apply);
    filters.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }
  // Paper cannot be unfolded.
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });
})();
