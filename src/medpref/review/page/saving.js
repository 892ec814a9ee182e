// Judgements on their way to the server. Each lies in the browser's storage until the server has it on disk, so that
// neither a closed tab nor a killed server loses one. A save has a name of its own: sent twice, it counts once.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10000;

export class Saver {
  #server;
  #prefix;
  #tab = newName();
  #waiting = new Map();   // item → saves not acknowledged yet: the one that is sent, and the newest after it
  #revisions = new Map(); // item → the revision that this tab has seen
  #sending = new Set();
  #stuck = new Set();     // items that wait for a person: a conflict, or a refusal
  #wait = FIRST_WAIT;
  #timer = null;
  reason = null; // why something is not saved yet
  #channel;

  /**
   * `on` has saved(item, state), state(text, unsaved), conflict(item, mine, theirs), signedOut() and
   * elsewhere(item, state): what another tab has saved; returns whether the page takes it over.
   */
  constructor(server, review, reviewer, on) {
    this.#server = server;
    this.#prefix = `medpref-review/${review}/${reviewer}/`;
    this.on = on;
    this.#channel = new BroadcastChannel(this.#prefix);
    this.#channel.onmessage = ({ data }) => {
      if (this.#waiting.has(data.item)) return;
      // A page that does not show it must not write over it: its own save has to be refused and asked about.
      if (this.on.elsewhere(data.item, data.state)) this.#revisions.set(data.item, data.state.revision);
    };
  }

  /** How many items have something that the server has not acknowledged. */
  get unsaved() {
    return this.#waiting.size;
  }

  /** The newest judgement of an item that is not saved yet, or null. */
  pending(item) {
    return this.#waiting.get(item)?.at(-1).judgement ?? null;
  }

  /** Note what the server has, as this tab now shows it. */
  seen(item, revision) {
    if (!this.#waiting.has(item)) this.#revisions.set(item, revision);
  }

  /** Take over what tabs that are gone left unsaved. */
  adopt() {
    for (const key of keptKeys().filter((one) => one.startsWith(this.#prefix))) {
      const item = key.slice(this.#prefix.length).split("/")[1];
      const saves = read(key);
      if (!saves || this.#waiting.has(item)) continue;
      this.#waiting.set(item, saves);
      this.#revisions.set(item, saves[0].base);
      if (this.#keep(item)) localStorage.removeItem(key);
    }
    this.flush();
  }

  /** Keep a judgement here, and send it. */
  change(item, judgement) {
    // A save that was sent may have arrived though its answer did not: it goes first again, under its name.
    const sent = (this.#waiting.get(item) ?? []).slice(0, 1).filter((save) => save.sent);
    const save = { save: newName(), base: this.#revisions.get(item) ?? 0, judgement, sent: false };
    this.#waiting.set(item, [...sent, save]);
    this.#stuck.delete(item);
    this.#keep(item);
    this.flush();
  }

  /** After a conflict: save this tab's judgement over the other, or let it go. */
  settle(item, theirs, mine) {
    this.#revisions.set(item, theirs?.revision ?? 0);
    this.#waiting.delete(item);
    this.#keep(item);
    if (mine) this.change(item, mine);
    this.#tell();
  }

  /** Send what waits, each item's saves one after another. */
  flush() {
    clearTimeout(this.#timer);
    for (const item of this.#waiting.keys()) this.#send(item);
    this.#tell();
  }

  async #send(item) {
    if (this.#sending.has(item) || this.#stuck.has(item)) return;
    this.#sending.add(item);
    try {
      while (this.#waiting.has(item)) {
        const [save] = this.#waiting.get(item);
        save.sent = true;
        this.#keep(item);
        const { sent, ...body } = save;
        const state = await this.#server.save(item, body);
        this.#acknowledged(item, save, state);
      }
      this.#wait = FIRST_WAIT;
    } catch (error) {
      this.#failed(item, error);
    } finally {
      this.#sending.delete(item);
      this.#tell();
    }
  }

  #acknowledged(item, save, state) {
    this.#revisions.set(item, state.revision);
    const rest = this.#waiting.get(item).filter((other) => other.save !== save.save);
    for (const other of rest) other.base = state.revision;
    if (rest.length) this.#waiting.set(item, rest);
    else this.#waiting.delete(item);
    this.#keep(item);
    this.#channel.postMessage({ item, state });
    this.on.saved(item, state);
  }

  #failed(item, error) {
    if (error.status === 409) {
      this.#stuck.add(item);
      this.on.conflict(item, this.pending(item), error.body.current);
      return;
    }
    if (error.status === 401) {
      this.reason = "you are signed out";
      this.on.signedOut();
      return;
    }
    if (error.status === 422) {
      this.#stuck.add(item);
      this.#waiting.get(item)[0].sent = false;
      this.reason = `refused: ${error.message}`;
      return;
    }
    this.reason = error.message;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#again(error.status), Math.max(this.#wait, error.wait * 1000));
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT);
  }

  async #again(status) {
    if (status === 403) {
      // The session is another one: its own word has to come along.
      await this.#server.resume().catch(() => null);
    }
    this.flush();
  }

  #keep(item) {
    const key = `${this.#prefix}${this.#tab}/${item}`;
    try {
      if (this.#waiting.has(item)) localStorage.setItem(key, JSON.stringify(this.#waiting.get(item)));
      else localStorage.removeItem(key);
      return true;
    } catch {
      // A browser without room or storage: the judgement stays in this tab until the server has it.
      return false;
    }
  }

  #tell() {
    const count = this.unsaved;
    if (!count) {
      this.reason = null;
      this.on.state("All saved", false);
    } else if (this.reason) {
      this.on.state(`${count} not saved yet: ${this.reason}. Kept in this browser; trying again.`, true);
    } else {
      this.on.state("Saving…", true);
    }
  }
}

/** A UUID of random digits. The browser's own function for it is not there where a page came without TLS. */
function newName() {
  const digits = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [4, 2, 2, 2, 6].map(digits).join("-");
}

function keptKeys() {
  try {
    return Object.keys(localStorage);
  } catch {
    return []; // a browser that stores nothing
  }
}

function read(key) {
  try {
    const saves = JSON.parse(localStorage.getItem(key));
    return Array.isArray(saves) && saves.length ? saves : null;
  } catch {
    return null;
  }
}
