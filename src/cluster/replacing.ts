import type { Change, Draft, DraftOf } from '../seam.ts'
import type { Core } from './core.ts'
import type { Delivery } from './delivery.ts'
import type { Endings } from './endings.ts'
import type { Entry } from './entries.ts'
import { mergeRecords } from './record.ts'
import type { Writes } from './writes.ts'

/**
 * A session goes on under a new id. Parallel requests may have written at other servers, and been answered, before the end of the
 * old id reached them: their writes come back with the acknowledgement of that end, and are made to the new session before this resolves.
 */
export type Replace = (old: Entry, key: string, draft: DraftOf) => Promise<Entry>

export function createReplace(core: Core, delivery: Delivery, endings: Endings, writes: Writes): Replace {
  return async (old, key, draft) => {
    const { record } = old
    const first = draft(record)
    const gathered = delivery.gather(record.key)
    try {
      const created = writes.create(key, first)
      const ended = endings.end(record.key, 'replaced', record.meta.absoluteAt, record.coverage)
      const [entry] = await Promise.all([created, ended])
      if (gathered.records.length === 0) return entry
      const change = differenceOf(first, draft(gathered.records.reduce(mergeRecords, record)), core.context.runtime.now())
      return change === undefined ? entry : await writes.write(entry, change)
    } finally {
      gathered.stop()
    }
  }
}

function differenceOf(before: Draft, after: Draft, touchAt: number): Change | undefined {
  const set = new Map<string, string | undefined>()
  for (const [field, value] of after.fields) if (before.fields.get(field) !== value) set.set(field, value)
  for (const field of before.fields.keys()) if (!after.fields.has(field)) set.set(field, undefined)
  return set.size === 0 ? undefined : { set, add: new Map(), touchAt }
}
