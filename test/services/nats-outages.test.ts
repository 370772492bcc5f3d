import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { type RunningNats, startNats, startNatsCluster } from '../setup/nats.ts'
import { freePort } from '../setup/ports.ts'
import { spawnNode, waitFor, within } from '../setup/servers.ts'
import { allLinked, type Running, SILENCE_MS, startServer, talk } from '../unit/transports/nats-server.ts'
import { closeAll, SECRET } from '../unit/transports/recorded.ts'

const servers: RunningNats[] = []
const kept = (nats: RunningNats): RunningNats => {
  servers.push(nats)
  return nats
}
afterEach(async () => {
  await closeAll()
  await Promise.all(servers.splice(0).map((nats) => nats.stop()))
})

async function pair(urlA: string, urlB = urlA, options: { silenceMs?: number } = {}): Promise<[Running, Running]> {
  const a = await startServer({ node: 'a', servers: urlA, ...options })
  const b = await startServer({ node: 'b', servers: urlB, ...options })
  await allLinked(a, b)
  return [a, b]
}

describe('nats - one NATS server', () => {
  test('a restart within the silence limit takes no peer down, and frames pass again', async () => {
    const nats = kept(await startNats())
    const [a, b] = await pair(nats.url, nats.url, { silenceMs: 10_000 })
    await nats.kill()
    await waitFor(() => a.warnings.length > 0, 5_000, 'the loss is noticed')
    expect(a.send(b, 'while NATS is away')).toBe(true)
    kept(await nats.restart())
    await waitFor(() => b.events.includes('frame a while NATS is away'), 10_000, 'it arrives late')
    await talk(a, b)
    expect([a.moves(), b.moves()]).toEqual([['up b'], ['up a']])
  })

  test('while it is gone for long all peers go down, not at once; when it is back they are up by themselves', async () => {
    const nats = kept(await startNats())
    const [a, b] = await pair(nats.url)
    const killedAt = performance.now()
    await nats.kill()
    await waitFor(() => a.moves().length === 2 && b.moves().length === 2, 15_000, 'both are down')
    expect(performance.now() - killedAt).toBeGreaterThan(SILENCE_MS * 0.8)
    expect(a.moves()[1]).toBe('down b: silent for 2 s')
    expect(a.send(b, 'too late')).toBe(false)
    kept(await nats.restart())
    await allLinked(a, b)
    await talk(a, b)
    expect(a.moves()).toEqual(['up b', 'down b: silent for 2 s', 'up b'])
    expect(a.warnings).toHaveLength(1)
    expect(a.warnings[0]).toMatch(/NATS is lost/)
  })

  test('a frozen one is left, peers go down, and are up again once it runs', async () => {
    const nats = kept(await startNats())
    const [a, b] = await pair(nats.url)
    nats.pause()
    await waitFor(() => a.moves().length === 2 && b.moves().length === 2, 15_000, 'both are down')
    expect(a.send(b, 'nowhere to')).toBe(false)
    await sleep(3_000)
    nats.resume()
    await allLinked(a, b)
    await talk(a, b)
  })

  test('what a frozen one has not read stays bounded: sends answer false', async () => {
    const nats = kept(await startNats())
    const [a, b] = await pair(nats.url, nats.url, { silenceMs: 20_000 })
    nats.pause()
    const frame = Buffer.alloc(1_000_000)
    let taken = 0
    while (taken < 100 && a.transport.send(b.self.incarnation, frame)) taken++
    expect(taken).toBeGreaterThan(10)
    expect(taken).toBeLessThanOrEqual(16)
    nats.resume()
    await waitFor(() => b.frames().length === taken, 20_000, 'all that was taken arrived')
    await talk(a, b)
    expect(a.moves()).toEqual(['up b'])
  })

  test('frames that a killed NATS server swallowed are sent again: none is missing, doubled or out of order', async () => {
    let nats = kept(await startNats())
    const [a, b] = await pair(nats.url, nats.url, { silenceMs: 15_000 })
    let number = 0
    const sending = setInterval(() => {
      for (let i = 0; i < 50; i++) if (a.send(b, String(number))) number++
      if (number % 1_000 < 50 && a.transport.send(b.self.incarnation, Buffer.alloc(700_000))) number++
    }, 2)
    try {
      for (let round = 0; round < 3; round++) {
        const before = b.frames().length
        await waitFor(() => b.frames().length > before + 500, 15_000, 'frames arrive')
        await nats.kill()
        await sleep(50)
        nats = kept(await nats.restart())
      }
    } finally {
      clearInterval(sending)
    }
    await waitFor(() => b.frames().length === number, 20_000, 'all that was taken has arrived')
    expect(b.frames().every((event, index) => event === `frame a ${index}` || event === 'frame a 700000')).toBe(true)
    expect([a.moves(), b.moves()]).toEqual([['up b'], ['up a']])
  })

  test('a start without any NATS server ends with one warning, and joins when there is one', async () => {
    const port = await freePort()
    const started = performance.now()
    const [a, b] = await Promise.all(['a', 'b'].map((node) => startServer({ node, servers: `127.0.0.1:${port}` })))
    if (a === undefined || b === undefined) throw new Error('unreachable')
    expect(performance.now() - started).toBeLessThan(5_000)
    expect(a.warnings).toEqual([expect.stringMatching(/NATS cannot be reached \(ECONNREFUSED\)/)])
    expect(a.transport.peers()).toEqual([])
    kept(await startNats({ port }))
    await allLinked(a, b)
    await talk(a, b)
    expect(a.warnings).toHaveLength(1)
  })

  test('a start beside dead servers finds the live one without a word; a frozen one is said to give no answer', async () => {
    const nats = kept(await startNats())
    const dead = `127.0.0.1:${await freePort()}`
    const a = await startServer({ node: 'a', servers: [dead, nats.url], noRandomize: true })
    const b = await startServer({ node: 'b', servers: nats.url })
    await allLinked(a, b)
    expect(a.warnings).toEqual([])
    nats.pause()
    const late = await within(startServer({ node: 'late', servers: nats.url }), 5_000, 'the start')
    expect(late.warnings).toEqual([expect.stringMatching(/NATS cannot be reached \(no answer\)/)])
    nats.resume()
    await allLinked(a, b, late)
  })

  test('close ends in time while it is frozen, also when a start is under way', async () => {
    const nats = kept(await startNats())
    const [a] = await pair(nats.url)
    nats.pause()
    const late = startServer({ node: 'late', servers: nats.url })
    await sleep(200)
    const closed = performance.now()
    await within(Promise.all([a.transport.close(), closeAll()]), 5_000, 'closing')
    expect(performance.now() - closed).toBeLessThan(2_000)
    await within(late, 10_000, 'the start')
  })
})

describe('nats - three NATS servers', () => {
  test('one is killed: its members move to another that they have learned of, and nobody goes down', async () => {
    const cluster = await startNatsCluster()
    cluster.forEach(kept)
    const [a, b] = await pair(cluster[0].url, cluster[1].url, { silenceMs: 6_000 })
    await cluster[0].kill()
    await waitFor(() => a.warnings.length > 0, 5_000, 'the loss is noticed')
    await talk(a, b)
    expect([a.moves(), b.moves()]).toEqual([['up b'], ['up a']])
    await cluster[0].restart().then(kept)
    await talk(a, b)
  })

  test('one is frozen: its members move to another before they are missed', async () => {
    const cluster = await startNatsCluster()
    cluster.forEach(kept)
    const [a, b] = await pair(cluster[0].url, cluster[1].url, { silenceMs: 8_000 })
    cluster[0].pause()
    await waitFor(() => a.warnings.length > 0, 10_000, 'the silence is noticed')
    await talk(a, b)
    cluster[0].resume()
    await talk(a, b)
    expect([a.moves(), b.moves()]).toEqual([['up b'], ['up a']])
  })

  test('members at three different ones see a fourth come and go', async () => {
    const cluster = await startNatsCluster()
    cluster.forEach(kept)
    const members = await Promise.all(cluster.map(({ url }, index) => startServer({ node: `m${index}`, servers: url })))
    const fourth = await startServer({ node: 'fourth', servers: cluster.map(({ url }) => url) })
    await allLinked(...members, fourth)
    await fourth.transport.close()
    await waitFor(() => members.every((member) => member.moves().includes('down fourth: left')), 5_000, 'all hear the goodbye')
  })
})

describe('nats - members that vanish', () => {
  const child = (url: string): Promise<Awaited<ReturnType<typeof spawnNode>>> =>
    spawnNode(new URL('../unit/transports/nats-member.ts', import.meta.url), { args: [url, SECRET, 'child'] })

  test('a killed process is down long before the silence limit: NATS says that nobody listens', async () => {
    const nats = kept(await startNats())
    const a = await startServer({ node: 'a', servers: nats.url, silenceMs: 30_000 })
    const member = await child(nats.url)
    await waitFor(() => a.moves().includes('up child'), 10_000, 'the child is up')
    const killed = performance.now()
    await member.kill()
    await waitFor(() => a.moves().length === 2, 20_000, 'the child is down')
    expect(a.moves()[1]).toBe('down child: it has left NATS')
    expect(performance.now() - killed).toBeLessThan(5_000)
  })

  test('a process that leaves is down at once, and nothing keeps it alive', async () => {
    const nats = kept(await startNats())
    const a = await startServer({ node: 'a', servers: nats.url })
    const member = await child(nats.url)
    await waitFor(() => a.moves().includes('up child'), 10_000, 'the child is up')
    process.kill(member.pid, 'SIGTERM')
    expect(await within(member.exited, 5_000, 'the child to end')).toEqual({ code: 0, signal: null })
    expect(member.output()).toContain('closed')
    await waitFor(() => a.moves().includes('down child: left'), 2_000, 'the child is down')
  })

  test('a frozen process is down by silence, accuses nobody when it runs again, and is back', async () => {
    const nats = kept(await startNats())
    const a = await startServer({ node: 'a', servers: nats.url })
    const b = await startServer({ node: 'b', servers: nats.url })
    const member = await child(nats.url)
    const heard = (event: string, times: number) => () =>
      [a, b].every((server) => server.moves().filter((move) => move === event).length === times)
    await waitFor(heard('up child', 1), 10_000, 'the child is up')
    member.pause()
    await waitFor(heard('down child: silent for 2 s', 1), 20_000, 'the child is down at both')
    member.resume()
    await waitFor(heard('up child', 2), 20_000, 'the child is up again at both')
    expect(member.output()).not.toContain('silent for')
    expect(member.output()).toContain('closed by the peer (silent)')
    await allLinked(a, b)
    expect([...a.moves(), ...b.moves()].filter((event) => /^down [ab]/.test(event))).toEqual([])
  })
})
