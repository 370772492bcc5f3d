import { createClient } from '@redis/client'
import { expect, test } from 'vitest'
import { createSessions } from '../../src/sessions.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import { type Data, visit } from '../../src/testing/visit.ts'
import type { SessionEvent } from '../../src/types.ts'
import { startRedis, waitFor } from '../setup/servers.ts'

test('dedicated, Redis - an older copy that was restored and counted past the floor is regressed, not served in silence', async () => {
  const redis = await startRedis()
  const client = createClient({ url: redis.url })
  client.on('error', () => {})
  const events: SessionEvent[] = []
  const sessions = createSessions<Data>({
    secrets: 'a secret for tests, long enough to be one',
    strategy: dedicated({ store: redisStore({ url: redis.url }) }),
    onEvent: (event) => void events.push(event),
  })
  try {
    await client.connect()
    await sessions.ready()
    const jar = new BrowserJar()
    await visit(sessions, jar, (session) => void (session.data.n = 1))
    const [name] = (await client.keys('*:s:*')) as [string]
    const key = name.slice(name.lastIndexOf(':') + 1)
    const older = String(await client.get(name))
    await visit(sessions, jar, (session) => void (session.data.n = 2))
    // The copy of before the second write comes back, and a write of somebody else makes it the second version again.
    await client.set(name, older.replace(/^1;1;/, '1;2;').replace(/;0;([^;]+);/, ';0;another-id1,$1;'))
    await waitFor(async () => {
      await visit(sessions, jar, (session) => expect(session.data.n).toBe(1)).catch(() => undefined)
      return events.some(({ type }) => type === 'regressed')
    })
    expect(events.filter(({ type }) => type === 'regressed')).toMatchObject([{ key }])
    await visit(sessions, jar, (session) => expect(session.data.n).toBe(1))
  } finally {
    await sessions.close()
    client.destroy()
    await redis.stop()
  }
})
