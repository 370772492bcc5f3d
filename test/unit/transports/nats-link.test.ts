import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_FRAME_BYTES } from '../../../src/core/frames.ts'
import { createEnvelope, linkKeys } from '../../../src/transports/nats-envelope.ts'
import { clusterKey, createLetters } from '../../../src/transports/nats-letters.ts'
import { createLink, type Link, MAX_MESSAGE_BYTES } from '../../../src/transports/nats-link.ts'
import { createVirtualRuntime } from '../../setup/virtual-runtime.ts'
import { OTHER_SECRET, SECRET } from './recorded.ts'

type Clock = ReturnType<typeof createVirtualRuntime>

/** Two ends of one link; the test decides what becomes of each message. */
function twoEnds(clock: Clock, largestMessage = 1_048_576): { a: Link; b: Link; toB: Buffer[]; toA: Buffer[]; atB: string[] } {
  const keys = linkKeys(clusterKey(SECRET, 'c'), 'a1', 'b1', randomBytes(16), randomBytes(16))
  const [toA, toB, atB]: [Buffer[], Buffer[], string[]] = [[], [], []]
  const shared = { name: 'link', runtime: clock, largestMessage: () => largestMessage }
  const seals = { cluster: 'c', id: keys.id }
  const a = createLink({
    ...shared,
    peer: { node: 'b', incarnation: 'b1' },
    underWay: { bytes: 0 },
    envelope: createEnvelope({ ...seals, self: 'a1', peer: 'b1', sending: keys.caller, receiving: keys.answerer }),
    publish: (message) => void toB.push(message),
    frame: () => undefined,
  })
  const b = createLink({
    ...shared,
    peer: { node: 'a', incarnation: 'a1' },
    underWay: { bytes: 0 },
    envelope: createEnvelope({ ...seals, self: 'b1', peer: 'a1', sending: keys.answerer, receiving: keys.caller }),
    publish: (message) => void toA.push(message),
    frame: (body) => void atB.push(body.length < 50 ? body.toString() : `${body.length}:${body.reduce((sum, byte) => sum + byte, 0)}`),
  })
  return { a, b, toA, toB, atB }
}

/** What a mesh does with a message. */
function deliver(link: Link, message: Buffer): string {
  const arrived = link.open(message)
  if (typeof arrived === 'string') return arrived
  link.take(arrived)
  return 'taken'
}

describe('nats link', () => {
  test('a message is taken once; a repeated, a reordered and a changed one is not', async () => {
    const clock = createVirtualRuntime({ seed: 1 })
    const { a, b, toB, atB } = twoEnds(clock)
    for (const text of ['one', 'two']) {
      a.send(Buffer.from(text))
      await clock.advance(1)
    }
    const [first, second] = toB as [Buffer, Buffer]
    for (let at = 0; at < first.length; at++) {
      const changed = Buffer.from(first)
      changed[at] = (changed[at] as number) ^ 1
      // The link's id is what finds the link, and the first byte what finds the kind: they are bound all the same.
      expect(['forged', 'repeated']).toContain(at === 0 || (at > 0 && at < 9) ? 'forged' : deliver(b, changed))
    }
    expect(deliver(b, first)).toBe('taken')
    expect(deliver(b, first)).toBe('repeated')
    expect(deliver(b, second)).toBe('taken')
    expect(deliver(b, first)).toBe('repeated')
    expect(deliver(a, second)).toBe('forged')
    expect(atB).toEqual(['one', 'two'])
  })

  test('whatever is lost on the way, every frame arrives once and in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.array(fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 30_000 })), { minLength: 1, maxLength: 30 }),
        fc.array(fc.boolean(), { minLength: 20, maxLength: 200 }),
        async (seed, sizes, fates) => {
          const clock = createVirtualRuntime({ seed })
          const { a, b, toA, toB, atB } = twoEnds(clock, 4096)
          const sent: string[] = []
          let turn = 0
          const carry = (): void => {
            for (const message of toB.splice(0)) if (fates[turn++ % fates.length] || turn > 2_000) deliver(b, message)
            for (const message of toA.splice(0)) if (fates[turn++ % fates.length] || turn > 2_000) deliver(a, message)
          }
          for (const [index, size] of sizes.entries()) {
            const frame = Buffer.alloc(size, index + 1)
            if (a.send(frame)) sent.push(size < 50 ? frame.toString() : `${size}:${(index + 1) * size}`)
            await clock.advance(1)
            carry()
          }
          // Pings tell what is missing; a ping may be lost too.
          turn = 2_001
          for (let beat = 0; beat < 5; beat++) {
            a.ping()
            b.ping()
            await clock.advance(1_000)
            carry()
            carry()
          }
          expect(atB).toEqual(sent)
        },
      ),
      { numRuns: 150 },
    )
  })

  test('a frame of the limit fits into messages of what NATS takes', async () => {
    const clock = createVirtualRuntime({ seed: 1 })
    for (const largest of [4096, 1_048_576, 8 * 1_048_576]) {
      const { a, b, toB, atB } = twoEnds(clock, largest)
      expect(a.send(Buffer.alloc(MAX_FRAME_BYTES, 1))).toBe(true)
      expect(Math.max(...toB.map(({ length }) => length))).toBeLessThanOrEqual(Math.min(largest, MAX_MESSAGE_BYTES))
      for (const message of toB) deliver(b, message)
      expect(atB).toEqual([`${MAX_FRAME_BYTES}:${MAX_FRAME_BYTES}`])
    }
  })

  test('sends answer false while 16 MiB are unconfirmed, and true once the peer has confirmed', async () => {
    const clock = createVirtualRuntime({ seed: 1 })
    const { a, b, toA, toB } = twoEnds(clock)
    let taken = 0
    while (taken < 100 && a.send(Buffer.alloc(MAX_FRAME_BYTES))) taken++
    // Its length takes four bytes more than the frame.
    expect(taken).toBe(15)
    expect(a.send(Buffer.alloc(MAX_FRAME_BYTES))).toBe(false)
    for (const message of toB) deliver(b, message)
    expect(toA.length).toBeGreaterThan(10)
    for (const message of toA) deliver(a, message)
    expect(a.send(Buffer.alloc(MAX_FRAME_BYTES))).toBe(true)
  })

  test('bytes under way are counted off again, also when the link ends', async () => {
    const clock = createVirtualRuntime({ seed: 1 })
    const underWay = { bytes: 0 }
    const keys = linkKeys(clusterKey(SECRET, 'c'), 'a1', 'b1', randomBytes(16), randomBytes(16))
    const link = createLink({
      name: 'link',
      peer: { node: 'b', incarnation: 'b1' },
      envelope: createEnvelope({ cluster: 'c', id: keys.id, self: 'a1', peer: 'b1', sending: keys.caller, receiving: keys.answerer }),
      runtime: clock,
      underWay,
      largestMessage: () => 1_048_576,
      publish: () => undefined,
      frame: () => undefined,
    })
    link.send(Buffer.alloc(100))
    link.send(Buffer.alloc(500_000))
    expect(underWay.bytes).toBe(500_104)
    link.close()
    expect(underWay.bytes).toBe(0)
    expect(link.send(Buffer.alloc(1))).toBe(false)
  })
})

describe('nats letters', () => {
  const binding = Buffer.from('binding')
  const make = (secrets: readonly string[], cluster = 'c') =>
    createLetters(secrets, cluster, createVirtualRuntime({ seed: secrets.length }))

  test('a letter is read once, by those who have its key, for what it was bound to', () => {
    const sender = make([SECRET])
    const reader = make([OTHER_SECRET, SECRET])
    const letter = sender.seal(sender.keys[0] as never, binding, Buffer.from('hello'))
    expect(make([OTHER_SECRET]).open(binding, letter)).toBe('unknown')
    expect(make([SECRET], 'other').open(binding, letter)).toBe('unknown')
    expect(reader.open(Buffer.from('another'), letter)).toBe('forged')
    expect(reader.open(binding, letter)).toMatchObject({ plain: Buffer.from('hello') })
    expect(reader.open(binding, letter)).toBe('old')
  })

  test('any bytes open as nothing and throw nothing', () => {
    const reader = make([SECRET])
    const id = (reader.keys[0] as { id: Buffer }).id
    for (let size = 0; size < 120; size++) {
      expect(typeof reader.open(binding, randomBytes(size))).toBe('string')
      expect(typeof reader.open(binding, Buffer.concat([id, randomBytes(size)]))).toBe('string')
    }
  })

  test('two runs with one secret never share a key, and no run uses a nonce twice', () => {
    const first = createLetters([SECRET], 'c', createVirtualRuntime({ seed: 1 }))
    const second = createLetters([SECRET], 'c', createVirtualRuntime({ seed: 2 }))
    const heads = [first, first, second, second].map((letters) =>
      letters.seal(letters.keys[0] as never, binding, Buffer.from('same')).toString('hex', 0, 30),
    )
    expect(new Set(heads).size).toBe(4)
  })
})
