/** Fills the disk that holds the file it is given, and prints what the store says: run in a mount namespace of its own. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { systemRuntime } from '../../../src/core/runtime.ts'
import type { SessionError } from '../../../src/errors.ts'
import type { StoredRecord } from '../../../src/seam.ts'
import { sqliteStore } from '../../../src/stores/sqlite.ts'

const file = process.argv[2] as string
const DEADLINE_MS = 2_000
const filler = join(dirname(file), 'filler')
const store = sqliteStore({ file })
await store.ready({ runtime: systemRuntime(), logger: console, deadlineMs: DEADLINE_MS, stateChanged: () => {} })

const now = Date.now()
const times = { createdAt: now, lastActiveAt: now, idleMs: 60_000, touchEveryMs: 1_000, absoluteAt: now + 60_000 }
const draft = { meta: { userId: undefined, ...times, persistent: false }, fields: new Map([['a', 'x'.repeat(10_000)]]) }
const patch = { set: new Map([['a', 'y'.repeat(10_000)]]), add: new Map(), touchAt: 0, writeId: 'p' }

async function outcome(work: Promise<unknown>): Promise<string> {
  const startedAt = performance.now()
  const said = await work.then(String, (error: SessionError) => `${error.code} ${error.status} ${error.message}`)
  return performance.now() - startedAt < DEADLINE_MS ? said : `too late: ${said}`
}

await store.create('k', draft, 'w')
fill()
const refused = [await outcome(store.create('l', draft, 'w')), await outcome(store.patch('k', patch))]
const kept = (await store.read('k')) as StoredRecord
const absent = await store.read('l')
rmSync(filler)
const after = await outcome(store.create('l', draft, 'w'))
await store.close()
console.log(JSON.stringify({ refused, version: kept.version, value: kept.fields.get('a')?.[0], isAbsent: absent === undefined, after }))

function fill(): void {
  const descriptor = openSync(filler, 'w')
  for (const size of [4_096, 1]) {
    try {
      for (;;) writeSync(descriptor, Buffer.alloc(size))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }
  closeSync(descriptor)
}
