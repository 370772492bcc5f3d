import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { systemRuntime } from '../../../src/core/runtime.ts'
import { SessionError } from '../../../src/errors.ts'
import type { Runtime } from '../../../src/seam.ts'
import { tcpTransport } from '../../../src/transports/tcp.ts'
import { makeCertificates } from './certificates.ts'
import { freePorts } from '../../setup/ports.ts'
import { allLinked, at, type Running, startServer, until } from './tcp-server.ts'
import { closeAll, OTHER_SECRET, SECRET } from './recorded.ts'

afterEach(closeAll)

const ups = (server: Running): string[] => server.events.filter((event) => event.startsWith('up')).toSorted()

async function startFailure(promise: Promise<unknown>): Promise<SessionError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!SessionError.is(error)) throw new Error('expected a SessionError')
  return error
}

describe('tcp mesh - finding each other', () => {
  test('servers started at the same time, each listing all and itself, get one link per pair that stays', async () => {
    const ports = await freePorts(5)
    const peers = ports.map((port) => `127.0.0.1:${port}`)
    const servers = await Promise.all(ports.map((port, i) => startServer({ node: `n${i}`, port, peers })))
    await allLinked(...servers)
    await sleep(1500)
    for (const server of servers) {
      expect(ups(server)).toEqual(['n0', 'n1', 'n2', 'n3', 'n4'].filter((n) => n !== server.self.node).map((n) => `up ${n}`))
      expect(server.events.filter((event) => event.startsWith('down'))).toEqual([])
      expect(server.warnings).toEqual([])
    }
  })

  test('the mesh completes when two servers only list a third', async () => {
    const b = await startServer({ node: 'b' })
    const a = await startServer({ node: 'a', peers: [at(b)] })
    const c = await startServer({ node: 'c', peers: [at(b)] })
    await allLinked(a, b, c)
    expect(ups(a)).toEqual(['up b', 'up c'])
  })

  test('after start() the peers that run are linked', async () => {
    const a = await startServer({ node: 'a', incarnation: 'z' })
    const b = await startServer({ node: 'b', incarnation: 'a', peers: [at(a)] })
    expect(b.transport.peers().map((peer) => peer.node)).toEqual(['a'])
  })

  test('a DNS name is resolved, the server itself may be among the answers', async () => {
    const [port] = (await freePorts(1)) as [number]
    const b = await startServer({ node: 'b', port, host: '127.0.0.1' })
    const a = await startServer({ node: 'a', peers: { dns: 'localhost', port } })
    await allLinked(a, b)
    expect([...a.warnings, ...b.warnings]).toEqual([])
  })

  test('a server that comes back on its port is dialled again by those who knew it', async () => {
    const [port] = (await freePorts(1)) as [number]
    const a = await startServer({ node: 'a', peers: [`127.0.0.1:${port}`] })
    const first = await startServer({ node: 'b', port })
    await allLinked(a, first)
    await first.transport.close()
    await until('b is down', () => !a.sees('b'))
    const again = await startServer({ node: 'b', port })
    await allLinked(a, again)
    expect(a.events).toEqual(['up b', 'down b', 'up b'])
  })

  test('close leaves at once and tells nobody twice', async () => {
    const a = await startServer({ node: 'a' })
    const b = await startServer({ node: 'b', peers: [at(a)] })
    await allLinked(a, b)
    const before = performance.now()
    await b.transport.close()
    await until('b is down', () => !a.sees('b'))
    expect(performance.now() - before).toBeLessThan(1000)
    expect(b.events).toEqual(['up a'])
  })

  test('close while still starting ends the start', async () => {
    const transport = tcpTransport({ cluster: 'unit', secrets: SECRET, host: '127.0.0.1', port: 0, peers: ['127.0.0.1:1'] })
    const handlers = { frame: () => {}, up: () => {}, down: () => {} }
    const started = transport.start({ self: { node: 'a', incarnation: 'a1' }, runtime: systemRuntime(), logger: console, ...handlers })
    await transport.close()
    await expect(started).resolves.toBeUndefined()
    expect(transport.peers()).toEqual([])
  })
})

describe('tcp mesh - who is refused', () => {
  test('a wrong secret is refused, both sides warn in one line, others are not affected', async () => {
    const a = await startServer({ node: 'a' })
    const b = await startServer({ node: 'b', peers: [at(a)] })
    const wrong = await startServer({ node: 'w', secrets: OTHER_SECRET, peers: [at(a)] })
    await until('both have warned', () => a.warnings.length > 0 && wrong.warnings.length > 0)
    await sleep(1000)
    for (const { warnings } of [a, wrong]) {
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toMatch(/PEER_REFUSED.*same cluster name.*secret/)
      expect(warnings[0]).not.toContain(SECRET)
    }
    expect(wrong.events).toEqual([])
    expect(a.events).toEqual(['up b'])
    b.send(a, 'unharmed')
    await until('frame', () => a.events.includes('frame b unharmed'))
  })

  test('secrets rotate: old, then old and new, then new and old, then new', async () => {
    const [old, fresh] = [SECRET, OTHER_SECRET]
    const steps = [[old], [old, fresh], [fresh, old], [fresh]]
    for (const [i, secrets] of steps.entries()) {
      const a = await startServer({ node: `a${i}`, secrets })
      const b = await startServer({ node: `b${i}`, secrets: steps[Math.max(0, i - 1)] as string[], peers: [at(a)] })
      const c = await startServer({ node: `c${i}`, secrets: steps[Math.min(3, i + 1)] as string[], peers: [at(a)] })
      await allLinked(a, b)
      await allLinked(a, c)
      expect([...a.warnings, ...b.warnings, ...c.warnings]).toEqual([])
    }
  })

  test('a dialler whose newest secret is unknown to the other falls back to an older one', async () => {
    const a = await startServer({ node: 'a', secrets: [SECRET] })
    const b = await startServer({ node: 'b', secrets: [OTHER_SECRET, SECRET], peers: [at(a)] })
    await allLinked(a, b)
    expect([...a.warnings, ...b.warnings]).toEqual([])
  })

  test('the same secret and another cluster name do not link', async () => {
    const a = await startServer({ node: 'a' })
    const b = await startServer({ node: 'b', cluster: 'elsewhere', peers: [at(a)] })
    await until('a warning', () => b.warnings.length > 0)
    expect(b.warnings[0]).toMatch(/PEER_REFUSED.*cluster name/)
    expect(a.events).toEqual([])
  })

  test('another cluster is refused by the hello too, where nothing is encrypted', async () => {
    const a = await startServer({ node: 'a', plaintext: true })
    const b = await startServer({ node: 'b', plaintext: true, cluster: 'elsewhere', peers: [at(a)] })
    await until('a warning', () => a.warnings.length > 0 || b.warnings.length > 0)
    expect([...a.warnings, ...b.warnings].join()).toContain('another cluster')
    expect([...a.events, ...b.events]).toEqual([])
  })

  test('plaintext and TLS do not mix, and say so', async () => {
    const a = await startServer({ node: 'a', plaintext: true })
    const b = await startServer({ node: 'b', peers: [at(a)] })
    await until('warnings', () => a.warnings.length > 0 && b.warnings.length > 0)
    expect(a.warnings[0]).toContain('plaintext')
    expect(b.warnings[0]).toContain('plaintext')
  })

  test('a certificate of another authority is refused, both sides warn', async () => {
    const [ours, theirs] = [makeCertificates(), makeCertificates()]
    const a = await startServer({ node: 'a', tls: ours })
    const b = await startServer({ node: 'b', tls: ours, peers: [at(a)] })
    const foreign = await startServer({ node: 'f', tls: theirs, peers: [at(a)] })
    // Trusts ours, but shows a certificate of another authority.
    const halfway = await startServer({ node: 'h', tls: { ...theirs, ca: ours.ca }, peers: [at(a)] })
    await until('all have warned', () => [a, foreign, halfway].every((server) => server.warnings.length > 0))
    for (const { warnings } of [a, foreign, halfway]) expect(warnings[0]).toMatch(/PEER_REFUSED.*authority/)
    expect(a.events).toEqual(['up b'])
    expect([...foreign.events, ...halfway.events]).toEqual([])
    expect(b.warnings).toEqual([])
  })

  test('a replaced run does not come back: no flapping between two servers of one name', async () => {
    const a = await startServer({ node: 'a' })
    const old = await startServer({ node: 'b', peers: [at(a)] })
    await allLinked(a, old)
    const fresh = await startServer({ node: 'b', peers: [at(a)] })
    await until('fresh is linked', () => fresh.sees('a') && !old.sees('a'))
    await sleep(1500)
    expect(a.events).toEqual(['up b', 'down b', 'up b'])
    expect(old.warnings.join()).toMatch(/newer run|its own name/)
  })

  test('a frame the layer above cannot read closes that link only', async () => {
    const explode = (): never => {
      throw new SessionError('PEER_PROTOCOL', 'unreadable')
    }
    const a = await startServer({ node: 'a', onFrame: explode })
    const b = await startServer({ node: 'b', peers: [at(a)] })
    const c = await startServer({ node: 'c', peers: [at(a)] })
    await allLinked(a, b, c)
    b.send(a, 'x')
    await until('b is down', () => a.events.includes('down b'))
    expect(a.sees('c')).toBe(true)
    expect(b.sees('c')).toBe(true)
    expect(a.warnings).toHaveLength(1)
    expect(a.warnings[0]).toContain('PEER_PROTOCOL')
  })
})

describe('tcp mesh - the port and the options', () => {
  test('a busy port rejects with PORT_IN_USE and says what to do', async () => {
    const a = await startServer({ node: 'a' })
    const error = await startFailure(startServer({ node: 'b', port: a.port }))
    expect(error.code).toBe('PORT_IN_USE')
    expect(error.message).toContain(`127.0.0.1:${a.port}`)
  })

  test('all problems of the options are reported together, no secret is repeated', () => {
    const options = { cluster: 'a b', secrets: ['short-secret', undefined], port: 70_000, peers: ['http://x:1', 'ok:1'], extra: 1 }
    try {
      tcpTransport(options as never)
      expect.unreachable()
    } catch (error) {
      if (!SessionError.is(error)) throw error
      expect(error.code).toBe('CONFIG_INVALID')
      for (const part of ['cluster', 'secrets.0', 'secrets.1', 'port', 'peers', 'extra']) expect(error.message).toContain(part)
      expect(error.message).not.toContain('short-secret')
    }
  })

  test.each([
    ['no secret', { cluster: 'c', peers: [] }],
    ['an empty list of secrets', { cluster: 'c', peers: [], secrets: [] }],
    ['plaintext and tls', { cluster: 'c', peers: [], plaintext: true, tls: { cert: 'a', key: 'b', ca: 'c' } }],
    ['no peers', { cluster: 'c', secrets: SECRET }],
  ])('%s is CONFIG_INVALID', (_name, options) => {
    expect(() => tcpTransport(options as never)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  test('peers may be hosts, hosts with ports, and IPv6', () => {
    const peers = ['host', 'host.name:1', '10.0.0.1:7946', '[::1]:7946', '::1', 'fe80::1']
    expect(() => tcpTransport({ cluster: 'c', secrets: SECRET, peers })).not.toThrow()
  })
})

describe('tcp mesh - silence', () => {
  /** A runtime whose clock can be put forward for one process, as if it had been stalled. */
  function shiftable(): Runtime & { shift(ms: number): void } {
    const base = systemRuntime()
    let offset = 0
    return { ...base, monotonic: () => base.monotonic() + offset, shift: (ms) => void (offset += ms) }
  }

  test('a process that was stalled itself accuses nobody', async () => {
    const runtime = shiftable()
    const a = await startServer({ node: 'a', runtime })
    const b = await startServer({ node: 'b', peers: [at(a)] })
    await allLinked(a, b)
    runtime.shift(20_000)
    await sleep(2500)
    expect(a.events).toEqual(['up b'])
  })

  test('pings keep an idle link up, a peer that falls silent is down', { timeout: 30_000 }, async () => {
    // A clock that runs fast on one side: five seconds of its silence pass between two pings of the other.
    const base = systemRuntime()
    const start = base.monotonic()
    let factor = 1
    const runtime: Runtime = {
      ...base,
      monotonic: () => start + (base.monotonic() - start) * factor,
      setTimer: (ms, run) => base.setTimer(ms / factor, run),
    }
    const a = await startServer({ node: 'a', runtime })
    const b = await startServer({ node: 'b', peers: [at(a)] })
    await allLinked(a, b)
    await sleep(2200)
    expect(a.events).toEqual(['up b'])
    factor = 40
    await until('silence is noticed', () => a.events.includes('down b'))
  })
})
