/** A process of its own that writes to a shared SQLite store: ARGS file, key, name, count. Prints DONE and the longest wait. */
import { systemRuntime } from '../../src/core/runtime.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'

const [file, key, name, count] = process.argv.slice(2) as [string, string, string, string]
const store = sqliteStore({ file })
await store.ready({ runtime: systemRuntime(), logger: console, deadlineMs: 10_000, stateChanged: () => {} })
console.log('READY')
await new Promise((resolve) => process.stdin.once('data', resolve))
for (let index = 0; index < Number(count); index++) {
  const set = new Map([[`${name}${index}`, String(index)]])
  const result = await store.patch(key, { set, add: new Map([['n', { by: 1, from: 0 }]]), touchAt: 0, writeId: `${name}-${index}` })
  if (result.outcome !== 'applied') throw new Error(result.outcome)
  console.log(`WROTE ${index}`)
}
console.log('DONE')
await store.close()
process.exit(0)
