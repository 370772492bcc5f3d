/**
 * A process of its own that writes to one session of a shared store, and reads it, as requests do: ARGS url, key, name, count. Prints DONE,
 * or what a read did not show of what was acknowledged before it.
 */
import { systemRuntime } from '../../src/core/runtime.ts'
import type { StoredRecord } from '../../src/seam.ts'
import { storeAt } from '../setup/store-backends.ts'

const READ_EVERY = 10

const [url, key, name, count] = process.argv.slice(2) as [string, string, string, string]
const store = storeAt(url)
await store.ready({ runtime: systemRuntime(), logger: console, deadlineMs: 10_000, stateChanged: () => {} })
console.log('READY')
await new Promise((resolve) => process.stdin.once('data', resolve))
let newest = 0
for (let index = 0; index < Number(count); index++) {
  const set = new Map([[`${name}${index}`, String(index)]])
  const result = await store.patch(key, { set, add: new Map([['n', { by: 1, from: 0 }]]), touchAt: 0, writeId: `${name}-${index}` })
  if (result.outcome !== 'applied') throw new Error(result.outcome)
  console.log(`WROTE ${index}`)
  newest = result.after
  if (index % READ_EVERY === 0) await visit(index)
}
console.log('DONE')
await store.close()
process.exit(0)

/** What a request does that only reads: it reads, and notes the time. */
async function visit(last: number): Promise<void> {
  const { fields, version } = (await store.read(key)) as StoredRecord
  if (version < newest) throw new Error(`a read of version ${version} after a write of ${newest}`)
  for (let index = 0; index <= last; index++) if (!fields.has(`${name}${index}`)) throw new Error(`a read without write ${index}`)
  const touch = { set: new Map(), add: new Map(), touchAt: Date.now(), writeId: `${name}-touch-${last}` }
  const { outcome } = await store.patch(key, touch)
  if (outcome !== 'applied') throw new Error(outcome)
}
