/** A script that only waits for its store, as an application does before it listens. Its one argument is an SQLite file. */
import { createSessions } from '../../src/sessions.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'

const store = sqliteStore({ file: process.argv[2] as string })
const secrets = 'a secret for tests, long enough to be one'
const sessions = createSessions({ secrets, strategy: dedicated({ store, deadlineMs: 60_000 }), cookie: { name: 'session', secure: false } })
console.log('WAITING')
await sessions.ready()
console.log('READY')
process.exit(0)
