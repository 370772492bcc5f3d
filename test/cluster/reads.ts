/** What one visitor's jar took and what its requests read, and the judgement over it: read your writes, monotonic reads. */

/** Fields whose values only grow: a later write of a field has a higher value. */
export type Values = Readonly<Record<string, number>>

type Happening =
  /** A request left with the jar as it was. */
  | { readonly kind: 'sent'; readonly request: number }
  /** What that request found when it opened the session. */
  | { readonly kind: 'read'; readonly request: number; readonly values: Values }
  /** An answer reached the jar: what it wrote, or showed, is known to the visitor from here on. */
  | { readonly kind: 'taken'; readonly values: Values }

export interface StaleRead {
  readonly request: number
  readonly field: string
  /** What the jar had taken before the request was sent. */
  readonly known: number
  /** Undefined: the field was missing. */
  readonly read: number | undefined
}

export class ReadHistory {
  readonly #happenings: Happening[] = []
  #requests = 0

  /** The number of the request that leaves now. */
  sent(): number {
    const request = ++this.#requests
    this.#happenings.push({ kind: 'sent', request })
    return request
  }

  read(request: number, values: Values): void {
    this.#happenings.push({ kind: 'read', request, values: { ...values } })
  }

  taken(values: Values): void {
    this.#happenings.push({ kind: 'taken', values: { ...values } })
  }

  get reads(): number {
    return this.#happenings.filter(({ kind }) => kind === 'read').length
  }

  /** Every read that lacks what the jar had taken before its request was sent. Requests under way meanwhile owe nothing. */
  staleReads(): StaleRead[] {
    const known = new Map<string, number>()
    const floors = new Map<number, ReadonlyMap<string, number>>()
    const stale: StaleRead[] = []
    for (const happening of this.#happenings) {
      if (happening.kind === 'sent') floors.set(happening.request, new Map(known))
      else if (happening.kind === 'read') stale.push(...compare(happening.request, happening.values, floors))
      else for (const [field, value] of Object.entries(happening.values)) known.set(field, Math.max(known.get(field) ?? value, value))
    }
    return stale
  }
}

function compare(request: number, values: Values, floors: ReadonlyMap<number, ReadonlyMap<string, number>>): StaleRead[] {
  const floor = floors.get(request)
  if (floor === undefined) throw new Error(`request ${request} read before it was sent`)
  return [...floor]
    .filter(([field, known]) => (values[field] ?? Number.NEGATIVE_INFINITY) < known)
    .map(([field, known]) => ({ request, field, known, read: values[field] }))
}
