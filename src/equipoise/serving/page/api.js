// The server: requests, events as they come, and whether it is there at all.

const BASE = "api/v1/";
const OUTAGES = 3; // of the server through which a request is kept
const PATIENCE = 20; // seconds for which a server that is too busy is asked again
export const LONG = 180; // where it says so while it works on the answer

/** What the server refuses, in its own sentence; `most` is how many images would not have been too many. */
export class Refused extends Error {
  constructor(status, message, most) {
    super(message);
    Object.assign(this, { status, most });
  }
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/**
 * The answer to a request: JSON, a picture's blob, or null where there is none. `signal` gives it up.
 * `keepalive` sends it although the page is left.
 * Where the server is gone it is sent `again` once that is back, so that every view goes on by itself where it stood;
 * by default if it only reads, as what changes something could have been done before the server went.
 */
export async function ask(path, { method = "GET", json, form, signal, keepalive, patience = PATIENCE, again = method === "GET" } = {}) {
  const began = performance.now();
  for (let outages = 0; ; ) {
    let response;
    try {
      const headers = json === undefined ? {} : { "Content-Type": "application/json" };
      response = await fetch(BASE + path, { method, headers, signal, keepalive, body: json === undefined ? form : JSON.stringify(json) });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      connection.lost();
      outages += 1;
      if (!again || outages > OUTAGES) throw new Refused(0, "The server does not answer.");
      await connection.back(signal);
      continue;
    }
    connection.there();
    if (response.ok) {
      if (response.status === 204) return null;
      return response.headers.get("Content-Type").startsWith("image/") ? response.blob() : response.json();
    }
    if (response.status === 503 && performance.now() - began < 1000 * patience) {
      await sleep(Math.min(5, Number(response.headers.get("Retry-After")) || 1));
      if (signal?.aborted) throw new DOMException("given up", "AbortError");
      continue;
    }
    if (response.status === 401 && path !== "login") connection.dispatchEvent(new Event("login"));
    const said = await response.json().catch(() => ({}));
    throw new Refused(response.status, said.error ?? `The server refuses this (${response.status}).`, said.most);
  }
}

export const post = (path, json, options) => ask(path, { method: "POST", json, ...options });

/** The address of a picture of a run. */
export const picture = (id, name) => `${BASE}runs/${id}/${name}`;

/**
 * Call handlers[kind](data, place) for every event of a stream after the place `since`, however often it breaks; returns
 * what ends it.
 * A tab that nobody sees lets go of its streams: a browser has six connections for all tabs of a server.
 */
export function follow(path, handlers, since = "") {
  let source = null;
  let timer = 0;
  let ended = false;
  let last = since; // a new EventSource does not know it by itself
  const open = () => {
    source = new EventSource(BASE + path + (last && `${path.includes("?") ? "&" : "?"}last_event_id=${encodeURIComponent(last)}`));
    for (const [kind, handler] of Object.entries(handlers)) {
      source.addEventListener(kind, (event) => {
        last = event.lastEventId || last;
        handler(JSON.parse(event.data), last);
      });
    }
    source.onopen = () => connection.there();
    source.onerror = () => {
      if (ended || !source) return;
      connection.check();
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      timer = setTimeout(turn, 2000);
    };
  };
  const turn = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
    if (!document.hidden) open();
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", turn);
    source?.close();
  };
}

/** Whether the server answers. Events: `lost`, `back`, `login` (a token is wanted). */
class Connection extends EventTarget {
  ok = true;
  #checking = false;

  lost() {
    if (this.ok) {
      this.ok = false;
      this.dispatchEvent(new Event("lost"));
    }
    this.check();
  }

  there() {
    if (this.ok) return;
    this.ok = true;
    this.dispatchEvent(new Event("back"));
  }

  /** Wait until it is there again, or `signal` gives that up. */
  async back(signal) {
    while (!this.ok) {
      if (signal?.aborted) throw new DOMException("given up", "AbortError");
      await new Promise((resolve) => {
        this.addEventListener("back", resolve, { once: true, signal });
        signal?.addEventListener("abort", resolve, { once: true });
      });
    }
  }

  /** Ask until it answers. */
  async check() {
    if (this.#checking) return;
    this.#checking = true;
    for (;;) {
      try {
        const response = await fetch(`${BASE}session`, { signal: AbortSignal.timeout(5000) });
        const session = await response.json();
        if (session.token_required && !session.logged_in) this.dispatchEvent(new Event("login"));
        break;
      } catch {
        if (this.ok) {
          this.ok = false;
          this.dispatchEvent(new Event("lost"));
        }
        await sleep(1.5);
      }
    }
    this.#checking = false;
    this.there();
  }
}

export const connection = new Connection();
