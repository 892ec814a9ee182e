// The form of one item: what is said of an answer, or of two side by side. Texts of models are set as text, never as HTML.

const VERDICTS = { correct: "Correct", partly: "Partly correct", wrong: "Wrong", "cannot-tell": "Can’t tell" };
const HARMS = { none: "None", mild: "Mild", moderate: "Moderate", severe: "Severe" };
const ERRORS = {
  anatomical: ["Anatomy or place", "a"], measurement: ["Size or count", "m"], symptom: ["Finding", "s"],
  technique: ["Modality or plane", "t"], knowledge: ["Medical knowledge", "k"],
  context: ["Misses the question", "c"], unknown: ["Other", "o"],
};
const FAULTY = ["partly", "wrong"];

export class Form {
  #form;
  #changed;
  #vocabulary;
  #item = null;
  #opened = new Set();

  constructor(form, vocabulary, changed) {
    this.#form = form;
    this.#vocabulary = vocabulary;
    this.#changed = changed;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => this.#said());
  }

  /** Show an item with what was said of it. */
  show(item, judgement) {
    this.#item = item;
    this.#opened = new Set(judgement?.opened ?? []);
    this.#form.replaceChildren(...(item.kind === "answer" ? this.#answer(item, judgement) : this.#comparison(item, judgement)), this.#comment(judgement));
    this.#enable();
  }

  /** Note that the reviewer has looked at something before the verdict. */
  opened(what) {
    if (this.#opened.has(what)) return;
    this.#opened.add(what);
    if (this.judgement.verdict || this.judgement.preferred) this.#changed(this.judgement);
  }

  get judgement() {
    const picked = (name) => this.#form.querySelector(`input[name="${name}"]:checked`)?.value ?? null;
    const rest = { comment: this.#form.querySelector("textarea").value, opened: [...this.#opened] };
    if (this.#item.kind === "comparison") return { preferred: picked("preferred"), ...rest };
    const verdict = picked("verdict");
    const faulty = FAULTY.includes(verdict);
    const errors = [...this.#form.querySelectorAll('input[name="errors"]:checked')].map((input) => input.value);
    return { verdict, errors: faulty ? errors : [], harm: faulty ? picked("harm") : null, ...rest };
  }

  /** Use a key; returns whether it means anything here. */
  press(key) {
    const input = this.#form.querySelector(`input[data-key="${CSS.escape(key)}"]:enabled`);
    if (!input) return false;
    input.click();
    input.focus();
    return true;
  }

  focusComment() {
    this.#form.querySelector("textarea").focus();
  }

  /** What the keys of the shown item do. */
  get keys() {
    return [...this.#form.querySelectorAll("input[data-key]")].map((input) => [input.dataset.key, input.dataset.name]);
  }

  #said() {
    this.#enable();
    this.#changed(this.judgement);
  }

  #enable() {
    const fine = this.#form.querySelector("#faults");
    if (fine) fine.disabled = !FAULTY.includes(this.#form.querySelector('input[name="verdict"]:checked')?.value);
  }

  #answer(item, said) {
    const verdicts = this.#vocabulary.verdicts.map((name, place) => [name, VERDICTS[name], String(place + 1)]);
    const harms = this.#vocabulary.harms.map((name, place) => [name, HARMS[name], String(place + 5)]);
    const errors = this.#vocabulary.errors.map((name) => [name, ...ERRORS[name]]);
    const faults = element("fieldset", { id: "faults", className: "plain" },
      choices("checkbox", "errors", "What is wrong", errors, said?.errors ?? []),
      choices("radio", "harm", "Harm if acted on", harms, [said?.harm]));
    return [answer("Answer", item.answers[0]), choices("radio", "verdict", "The answer is", verdicts, [said?.verdict]), faults];
  }

  #comparison(item, said) {
    const sides = element("div", { className: "sides" }, answer("Left", item.answers[0]), answer("Right", item.answers[1]));
    const options = [[item.answers[0].key, "Left is better", "1"], [item.answers[1].key, "Right is better", "2"],
      ["tie", "Equally good or bad", "3"], ["cannot-tell", "Can’t tell", "4"]];
    return [sides, choices("radio", "preferred", "Which answer is better?", options, [said?.preferred])];
  }

  #comment(said) {
    const area = element("textarea", { id: "comment", rows: 2, maxLength: this.#vocabulary.longest_comment, value: said?.comment ?? "" });
    const label = element("label", { htmlFor: "comment" }, "Comment ", element("kbd", {}, "/"));
    return element("div", { className: "comment" }, label, area);
  }
}

/** Say a judgement in a line. */
export function inWords(judgement, item) {
  if (!judgement) return "nothing";
  const side = ["Left is better", "Right is better"][item?.answers.findIndex((one) => one.key === judgement.preferred)];
  const verdict = VERDICTS[judgement.verdict] ?? side ?? { tie: "Equal", "cannot-tell": "Can’t tell" }[judgement.preferred] ?? "open";
  const errors = (judgement.errors ?? []).map((name) => ERRORS[name][0]);
  const harm = judgement.harm ? [`harm: ${HARMS[judgement.harm].toLowerCase()}`] : [];
  const comment = judgement.comment ? [`“${judgement.comment}”`] : [];
  return [verdict, ...errors, ...harm, ...comment].join("; ");
}

function answer(name, { text }) {
  const shown = element("p", { className: "text", dir: "auto" });
  shown.textContent = text.trim() ? text : "(an empty answer)";
  return element("div", { className: "answer" }, element("p", { className: "label" }, name), shown);
}

function choices(type, name, title, options, picked) {
  const labels = options.map(([value, text, key]) => {
    const input = element("input", { type, name, value, checked: picked.includes(value) });
    input.dataset.key = key;
    input.dataset.name = text;
    input.setAttribute("aria-keyshortcuts", key);
    return element("label", { className: "choice" }, input, element("span", {}, text), element("kbd", {}, key));
  });
  return element("fieldset", {}, element("legend", {}, title), ...labels);
}

function element(tag, fields, ...children) {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}
