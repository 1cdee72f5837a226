/** Server-sent events out of a stream of text (WHATWG HTML, section 9.2.6). */

export interface ServerEvent {
  readonly event: string;
  readonly data: string;
}

export class SseParser {
  #rest = "";
  #event = "";
  #data: string[] = [];

  /** Feed the next piece of text; returns the events that it completed. */
  push(text: string): ServerEvent[] {
    const done: ServerEvent[] = [];
    this.#rest += text;
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.#rest);
      if (!end) return done;
      const line = this.#rest.slice(0, end.index);
      this.#rest = this.#rest.slice(end.index + end[0].length);
      const event = this.#line(line);
      if (event) done.push(event);
    }
  }

  #line(line: string): ServerEvent | null {
    if (line === "") {
      const event =
        this.#data.length > 0
          ? { event: this.#event || "message", data: this.#data.join("\n") }
          : null;
      this.#event = "";
      this.#data = [];
      return event;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    if (field === "data") this.#data.push(value);
    return null;
  }
}
