// The one place that speaks with the server.

/** What the server said no to, or that it could not be reached (status 0). */
export class Refused extends Error {
  constructor(status, detail, body, wait) {
    super(detail);
    this.status = status;
    this.body = body;
    this.wait = wait;
  }
}

export class Server {
  #csrf = "";

  async signIn(token) {
    return this.#begun(await this.#ask("POST", "/api/session", { token }));
  }

  async resume() {
    return this.#begun(await this.#ask("GET", "/api/session"));
  }

  async signOut() {
    await this.#ask("DELETE", "/api/session");
  }

  item(id) {
    return this.#ask("GET", `/api/items/${encodeURIComponent(id)}`);
  }

  region(id) {
    return this.#ask("GET", `/api/items/${encodeURIComponent(id)}/region`);
  }

  reference(id) {
    return this.#ask("GET", `/api/items/${encodeURIComponent(id)}/reference`);
  }

  save(id, body) {
    return this.#ask("PUT", `/api/items/${encodeURIComponent(id)}/judgement`, body);
  }

  async image(id, number) {
    const answer = await this.#fetch("GET", `/api/items/${encodeURIComponent(id)}/images/${number}`);
    return answer.blob();
  }

  #begun(about) {
    this.#csrf = about.csrf;
    return about;
  }

  async #ask(method, path, body) {
    const answer = await this.#fetch(method, path, body);
    return answer.status === 204 ? null : answer.json();
  }

  async #fetch(method, path, body) {
    const headers = { "x-csrf-token": this.#csrf };
    if (body !== undefined) headers["content-type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" });
    } catch {
      throw new Refused(0, "the server cannot be reached", null, 0);
    }
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    const detail = typeof said.detail === "string" ? said.detail : `the server said ${answer.status}`;
    throw new Refused(answer.status, detail, said, Number(answer.headers.get("retry-after")) || 0);
  }
}
