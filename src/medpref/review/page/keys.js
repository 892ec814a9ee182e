// Keys: one table, which the help shows as it is.

/** Let single keys do things, except where somebody types or a dialog is open. */
export function listen(actions, form, on) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("textarea, input[type=password], input[type=text]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (!on()) return;
    const key = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key;
    // A button that is focused takes Enter for itself.
    if (key === "Enter" && event.target.matches("button")) return;
    if (actions.has(key)) {
      event.preventDefault();
      actions.get(key).run();
    } else if (form()?.press(key)) {
      event.preventDefault();
    }
  });
}
