"use strict";
// Without scripts the page shows all samples; with them they can be filtered.
(() => {
  const filters = document.getElementById("filters");
  if (filters) {
    const chosen = (name) => document.getElementById(`filter-${name}`)?.value ?? "";
    const count = document.getElementById("filter-count");
    const cards = [...document.querySelectorAll(".card")].map((card) => ({
      card,
      kind: card.dataset.kind,
      // The first row is the start's, whose answers the others are compared with.
      answers: [...card.querySelectorAll("tr[data-method]")].map((row) => ({
        method: row.dataset.method,
        right: row.dataset.right === "1",
        errors: row.dataset.errors.split(" "),
      })),
    }));
    // What is asked of the start, the answers chosen by method, and all answers.
    const shows = {
      SPLIT: (start, own, all) => own.some((one) => all.some((other) => other.right !== one.right)),
      REGRESSION: (start, own) => start.right && own.some((one) => !one.right),
      GAIN: (start, own) => !start.right && own.some((one) => one.right),
      WRONG: (start, own) => own.every((one) => !one.right),
      RIGHT: (start, own) => own.every((one) => one.right),
    };
    const fits = ({ kind, answers }) => {
      const method = chosen("method");
      const own = answers.filter((one) => !method || one.method === method);
      const error = chosen("error");
      return (!chosen("kind") || kind === chosen("kind"))
        && own.length > 0
        && (!chosen("group") || shows[chosen("group")](answers[0], own, answers))
        && (!error || own.some((one) => one.errors.includes(error)));
    };
    const apply = () => {
      let shown = 0;
      for (const each of cards) {
        each.card.hidden = !fits(each);
        shown += each.card.hidden ? 0 : 1;
      }
      count.textContent = `${shown} of ${cards.length} shown`;
    };
    filters.hidden = false;
    filters.addEventListener("change", apply);
    filters.addEventListener("submit", (event) => event.preventDefault());
    // The fields have their first values only after the event.
    filters.addEventListener("reset", () => setTimeout(apply));
    apply();
  }
  // Paper cannot be unfolded.
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });
})();
