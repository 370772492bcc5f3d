/** The session of promise 10: 1 KB in 8 fields, of which the handler reads two and writes one. */
export const FIELDS: readonly string[] = Array.from({ length: 8 }, (_, index) => `field${index}`)

/** About 120 bytes of JSON: an object, as sessions hold, not one long string. */
export function fieldValue(index: number, turn: number): { id: number; turn: number; items: string[]; note: string } {
  return { id: index, turn, items: ['kelp', 'limpet', 'barnacle'], note: 'holdfast '.repeat(6) }
}

export type BenchField = ReturnType<typeof fieldValue>
