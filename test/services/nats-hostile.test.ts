import { connect, type NatsConnection } from '@nats-io/transport-node'
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { subjectsOf } from '../../src/transports/nats-messages.ts'
import { type RunningNats, startNats } from '../setup/nats.ts'
import { waitFor } from '../setup/servers.ts'
import { allLinked, type Running, startServer, talk } from '../unit/transports/nats-server.ts'
import { closeAll, OTHER_SECRET, SECRET } from '../unit/transports/recorded.ts'

let nats: RunningNats
let raw: NatsConnection

beforeAll(async () => {
  nats = await startNats()
  raw = await connect({ servers: nats.url })
})
afterAll(async () => {
  await raw.close()
  await nats.stop()
})
afterEach(closeAll)

interface Recorded {
  readonly subject: string
  readonly reply: string | undefined
  readonly data: Uint8Array
}

/** Everything that anybody sends through NATS from now on. */
function recorder(): { readonly messages: Recorded[]; stop(): void } {
  const messages: Recorded[] = []
  const subscription = raw.subscribe('>', {
    callback: (error, { subject, reply, data }) => {
      if (error === null) messages.push({ subject, reply: reply === '' ? undefined : reply, data: data.slice() })
    },
  })
  return { messages, stop: () => subscription.unsubscribe() }
}

async function replay(messages: readonly Recorded[], change: (message: Recorded) => Recorded = (message) => message): Promise<void> {
  for (const message of messages) {
    const { subject, data } = change(message)
    raw.publish(subject, data)
  }
  await raw.flush()
}

async function pair(options: Parameters<typeof startServer>[0] = { servers: nats.url }): Promise<[Running, Running]> {
  const a = await startServer({ node: 'a', ...options })
  const b = await startServer({ node: 'b', ...options })
  await allLinked(a, b)
  return [a, b]
}

async function unharmed(a: Running, b: Running): Promise<void> {
  const before = [a.frames().length, b.frames().length]
  await talk(a, b)
  expect([a.moves(), b.moves()]).toEqual([['up b'], ['up a']])
  expect([a.frames().length, b.frames().length]).toEqual(before.map((count) => (count ?? 0) + 1))
}

/** Two servers that cannot link have both had the time to. */
const beats = async (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1_500))

describe('nats - strangers on the same NATS server', () => {
  test('garbage on every subject is dropped, said once, and harms nothing', async () => {
    const [a, b] = await pair()
    const subjects = subjectsOf('unit')
    const targets = [subjects.all, subjects.to(a.self.incarnation), subjects.unheard(a.self.incarnation, '00')]
    const inputs = [
      Buffer.alloc(0),
      ...[0x11, 0x12, 0x13, 0x14, 0x21, 0xff].flatMap((type) => [
        Buffer.from([type]),
        Buffer.concat([Buffer.from([type]), Buffer.alloc(60, 0xff)]),
        Buffer.concat([Buffer.from([type]), randomBytes(300)]),
      ]),
      Buffer.alloc(1_000_000, 0x14),
      ...Array.from({ length: 50 }, (_, index) => randomBytes(index * 7)),
    ]
    for (const target of targets) for (const input of inputs) raw.publish(target, input)
    await raw.flush()
    await unharmed(a, b)
    const said = a.warnings.filter((line) => line.includes(subjects.all))
    expect(said).toHaveLength(2)
    expect(said.join()).toMatch(/PEER_PROTOCOL.*could not be read/)
    expect(said.join()).toMatch(/PEER_REFUSED.*not authentic.*secret/)
    expect(a.warnings).toHaveLength(2)
  })

  test('everything recorded and sent again is dropped: no frame comes twice, nobody goes up or down', async () => {
    const record = recorder()
    await raw.flush()
    const [a, b] = await pair()
    for (let i = 0; i < 5; i++) await talk(a, b)
    record.stop()
    expect(record.messages.length).toBeGreaterThan(10)
    for (let round = 0; round < 2; round++) await replay(record.messages)
    await replay([...record.messages].reverse())
    await unharmed(a, b)
    expect(b.warnings).toEqual([expect.stringMatching(/named "a".*came again/)])
  })

  test('every byte changed on the way makes a message worthless', async () => {
    const record = recorder()
    await raw.flush()
    const [a, b] = await pair()
    await talk(a, b)
    record.stop()
    for (let at = 0; at < 40; at++) {
      await replay(record.messages, (message) => {
        const data = Buffer.from(message.data)
        const index = Math.floor((at / 40) * data.length)
        data[index] = (data[index] ?? 0) ^ (1 << (at % 8))
        return { ...message, data }
      })
    }
    await unharmed(a, b)
  })

  test('a recording of a server that is gone does not bring it back', async () => {
    const record = recorder()
    await raw.flush()
    const [a, b] = await pair()
    // One on each side of both, so that it called and was called.
    const dead = await Promise.all(
      ['0', 'z'].map((incarnation) => startServer({ node: `dead${incarnation}`, incarnation, servers: nats.url })),
    )
    await allLinked(a, b, ...dead)
    for (const server of dead) await talk(a, server)
    await Promise.all(dead.map((server) => server.transport.close()))
    await waitFor(() => a.transport.peers().length === 1 && b.transport.peers().length === 1, 10_000, 'they are down')
    record.stop()
    // A server that has never heard of them is told everything.
    const late = await startServer({ node: 'late', servers: nats.url })
    const subjects = subjectsOf('unit')
    await allLinked(a, b, late)
    const moves = [a, b, late].map((server) => server.moves().length)
    for (const to of [a, b, late])
      await replay(record.messages, (message) =>
        message.subject === subjects.all ? message : { ...message, subject: subjects.to(to.self.incarnation) },
      )
    await beats()
    expect([a, b, late].map((server) => server.moves().length)).toEqual(moves)
    expect(late.transport.peers()).toHaveLength(2)
  })

  test('nothing readable passes through NATS: no name, no text, no secret', async () => {
    const record = recorder()
    await raw.flush()
    const [a, b] = await pair({ servers: nats.url, cluster: 'telling-name' })
    await talk(a, b)
    a.transport.send(b.self.incarnation, Buffer.from('canary'.repeat(1_000)))
    await waitFor(() => b.frames().includes('frame a 6000'), 5_000, 'the canary arrived')
    record.stop()
    const all = Buffer.concat(
      record.messages.flatMap(({ subject, reply, data }) => [Buffer.from(`${subject} ${reply ?? ''}`), data]),
    ).toString('latin1')
    for (const text of ['canary', 'telling-name', a.self.incarnation, 'to ', SECRET]) expect(all).not.toContain(text)
    expect(record.messages.every(({ subject }) => /^hf\.[0-9a-f]{32}\.(all|to\.[0-9a-f]{32})$/.test(subject))).toBe(true)
  })
})

describe('nats - clusters and secrets', () => {
  test('another cluster on the same NATS server is neither seen nor heard', async () => {
    const [a, b] = await pair()
    const foreign = await startServer({ node: 'a', servers: nats.url, cluster: 'other' })
    await beats()
    expect(foreign.transport.peers()).toEqual([])
    await unharmed(a, b)
    expect([...a.warnings, ...b.warnings, ...foreign.warnings]).toEqual([])
  })

  test('messages of another cluster are worthless here, with the same secret too', async () => {
    const record = recorder()
    await raw.flush()
    const foreign = await pair({ servers: nats.url, cluster: 'other' })
    await talk(...foreign)
    record.stop()
    await closeAll()
    const [a, b] = await pair()
    const subjects = subjectsOf('unit')
    await replay(record.messages, (message) => ({ ...message, subject: subjects.all }))
    await replay(record.messages, (message) => ({ ...message, subject: subjects.to(a.self.incarnation) }))
    await unharmed(a, b)
    expect(a.warnings.every((line) => line.includes('PEER_REFUSED'))).toBe(true)
    expect(a.warnings.length).toBeLessThanOrEqual(1)
  })

  test('a wrong secret links to nobody, and both sides say why, once', async () => {
    const [a, b] = await pair()
    const wrong = await startServer({ node: 'c', servers: nats.url, secrets: OTHER_SECRET })
    await waitFor(() => a.warnings.length > 0 && wrong.warnings.length > 0, 5_000, 'both complain')
    await beats()
    expect(wrong.transport.peers()).toEqual([])
    await unharmed(a, b)
    for (const { warnings } of [a, wrong]) expect(warnings).toEqual([expect.stringMatching(/PEER_REFUSED.*at least one secret in common/)])
    expect([...a.warnings, ...wrong.warnings].join()).not.toContain('long enough')
  })

  test('secrets rotate: servers link as long as they have one in common, whichever is newest', async () => {
    const secrets = [[SECRET], [OTHER_SECRET, SECRET], [SECRET, OTHER_SECRET]]
    const servers = await Promise.all(secrets.map((list, index) => startServer({ node: `r${index}`, servers: nats.url, secrets: list })))
    await allLinked(...servers)
    const [first, second, third] = servers as [Running, Running, Running]
    await talk(first, second)
    await talk(second, third)
    const newest = await startServer({ node: 'newest', servers: nats.url, secrets: OTHER_SECRET })
    await allLinked(second, third, newest)
    await talk(newest, second)
    expect(first.sees(newest)).toBe(false)
    expect([...second.warnings, ...third.warnings]).toEqual([])
  })

  test('two live servers of one name refuse each other and say so; the others follow the newer one', async () => {
    const [a, old] = await pair()
    const fresh = await startServer({ node: 'b', servers: nats.url })
    await allLinked(a, fresh)
    await waitFor(() => old.warnings.length > 1 && fresh.warnings.length > 0, 5_000, 'both complain')
    await beats()
    expect(fresh.sees(old)).toBe(false)
    expect(a.moves()).toEqual(['up b', 'down b: superseded by a newer run', 'up b'])
    expect(fresh.warnings[0]).toMatch(/PEER_REFUSED.*give each server its own name/)
    expect(old.warnings.join()).toMatch(/newer run of the same name has taken its place/)
  })

  test('a refused peer is down on both sides at once, left alone for a while, and then taken up again', async () => {
    const [a, b] = await pair()
    a.transport.refuse(b.self.incarnation, 'a test')
    a.transport.refuse(b.self.incarnation, 'a test')
    expect(a.transport.peers()).toEqual([])
    expect(a.events.filter((event) => event.startsWith('down'))).toEqual([])
    await waitFor(() => a.moves().length === 2 && b.moves().length === 2, 3_000, 'both are down')
    await beats()
    expect([a.moves().length, b.moves().length]).toEqual([2, 2])
    await waitFor(() => a.moves().length === 3 && b.moves().length === 3, 15_000, 'both are up again')
    await talk(a, b)
    expect(a.warnings).toEqual([expect.stringMatching(/PEER_PROTOCOL.*its link is closed: a test/)])
    expect(b.warnings).toEqual([expect.stringMatching(/PEER_PROTOCOL.*it refused this server/)])
  })
})
