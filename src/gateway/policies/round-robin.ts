/** True for the servers that may be picked, by position. */
export type Usable = (index: number) => boolean

/** The first usable one after `last`, wrapping; -1 when there is none. */
export function roundRobin(count: number, usable: Usable, last: number): number {
  for (let step = 1; step <= count; step++) {
    const index = (last + step) % count
    if (usable(index)) return index
  }
  return -1
}
