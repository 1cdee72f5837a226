/** One place of the page; `leave` stops its timers, streams and listeners. */
export interface Place {
  readonly leave: () => void;
}
