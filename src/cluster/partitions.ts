import { slotOf } from './placement.ts'

const PARTS = 256
const SLOTS_PER_PART = 64

/**
 * A map by session key in parts: one map of a million grows by copying itself in one go, which stops the event loop for longer than a
 * request should wait. Walks visit part after part, and go on while entries come and go.
 */
export interface Partitions<T> {
  readonly size: number
  get(key: string): T | undefined
  has(key: string): boolean
  set(key: string, value: T): void
  delete(key: string): boolean
  entries(): IterableIterator<[string, T]>
  values(): IterableIterator<T>
}

/** `partOf`: of what is no session key, but another text. */
export function createPartitions<T>(partOf: (key: string) => number = partOfKey): Partitions<T> {
  const parts = Array.from({ length: PARTS }, () => new Map<string, T>())
  const at = (key: string): Map<string, T> => parts[partOf(key) & (PARTS - 1)] as Map<string, T>
  let size = 0

  return {
    get size() {
      return size
    },
    get: (key) => at(key).get(key),
    has: (key) => at(key).has(key),
    set(key, value) {
      const part = at(key)
      const before = part.size
      part.set(key, value)
      size += part.size - before
    },
    delete(key) {
      if (!at(key).delete(key)) return false
      size--
      return true
    },
    *entries() {
      for (const part of parts) yield* part.entries()
    },
    *values() {
      for (const part of parts) yield* part.values()
    },
  }
}

function partOfKey(key: string): number {
  return Math.floor(slotOf(key) / SLOTS_PER_PART)
}
