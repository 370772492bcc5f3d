import { Agent, request } from 'node:http'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { freePort } from '../setup/ports.ts'
import { type RunningNode, spawnNode, waitFor } from '../setup/servers.ts'

const UPSTREAM = new URL('./gateway-upstream.ts', import.meta.url)
const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

interface ServerProcess {
  readonly id: string
  readonly url: string
  readonly port: number
  readonly node: RunningNode
}

async function server(id: string, port = 0): Promise<ServerProcess> {
  const node = await spawnNode(UPSTREAM, { args: [id, String(port)] })
  onTestFinished(() => node.kill())
  const bound = Number(node.ready.split(' ')[1])
  return { id, url: `http://127.0.0.1:${bound}`, port: bound, node }
}

async function cluster(): Promise<{ gateway: Gateway; port: number; servers: [ServerProcess, ServerProcess, ServerProcess] }> {
  const servers: [ServerProcess, ServerProcess, ServerProcess] = [await server('a'), await server('b'), await server('c')]
  const gateway = createGateway({ to: servers.map(({ id, url }) => ({ id, url })) })
  onTestFinished(() => gateway.close(0))
  return { gateway, port: (await gateway.listen()).port, servers }
}

interface Result {
  readonly method: string
  readonly answer: string
  readonly sentAt: number
  readonly endedAt: number
}

/** Visitors that send one request after the other over kept connections, until stopped. */
function load(port: number, methods: readonly string[]): { results: Result[]; stop(): Promise<void> } {
  const results: Result[] = []
  const agent = new Agent({ keepAlive: true })
  let running = true
  const once = (method: string): Promise<string> =>
    new Promise((resolve) => {
      const asking = request({ host: '127.0.0.1', port, method, agent }, (response) => {
        let text = `${response.statusCode} `
        response.on('data', (chunk: Buffer) => (text += chunk.toString()))
        response.on('end', () => resolve(text)).on('error', (error) => resolve(error.message))
      })
      asking.setTimeout(10_000, () => asking.destroy(new Error('no answer in 10 s')))
      asking.on('error', (error) => resolve(error.message)).end(method === 'POST' ? 'body' : undefined)
    })
  const visitors = methods.map(async (method) => {
    while (running) {
      const sentAt = performance.now()
      const answer = await once(method)
      results.push({ method, answer, sentAt, endedAt: performance.now() })
    }
  })
  async function stop(): Promise<void> {
    running = false
    await Promise.all(visitors)
    agent.destroy()
  }
  return { results, stop }
}

const GETS = Array.from({ length: 8 }, () => 'GET')
const isError = ({ answer }: Result): boolean => !answer.startsWith('200 ')
const answeredBy = (results: readonly Result[], name: string, since: number): boolean =>
  results.some(({ answer, sentAt }) => sentAt > since && answer === `200 ${name}`)

test('gateway - SIGKILL under load: no GET fails, no POST a second later, and the server is used again after its restart', async () => {
  const { port, servers } = await cluster()
  const { results, stop } = load(port, [...GETS, 'POST', 'POST'])
  await waitFor(() => ['a', 'b', 'c'].every((name) => answeredBy(results, name, 0)), 10_000, 'all three answering')
  const killedAt = performance.now()
  await servers[1].node.kill()
  await waitFor(() => results.filter(({ sentAt }) => sentAt > killedAt + 1_000).length > 100, 20_000, 'answers a second later')
  const restartedAt = performance.now()
  await server('b', servers[1].port)
  await waitFor(() => answeredBy(results, 'b', restartedAt), 10_000, 'b answering again')
  await stop()
  const errors = results.filter(isError)
  expect(errors.filter(({ method }) => method === 'GET')).toEqual([])
  expect(errors.filter(({ endedAt }) => endedAt > killedAt + 1_000)).toEqual([])
  expect(results.length).toBeGreaterThan(300)
})

test('gateway - SIGSTOP under load: no GET fails or waits 3 s, and the server is used again after SIGCONT', async () => {
  const { gateway, port, servers } = await cluster()
  const { results, stop } = load(port, GETS)
  await waitFor(() => ['a', 'b', 'c'].every((name) => answeredBy(results, name, 0)), 10_000, 'all three answering')
  const stoppedAt = performance.now()
  servers[2].node.pause()
  await waitFor(() => gateway.servers()[2]?.state === 'down', 5_000, 'c being down')
  expect(performance.now() - stoppedAt).toBeLessThan(2_000)
  await waitFor(() => results.filter(({ sentAt }) => sentAt > stoppedAt + 1_500).length > 100, 20_000, 'answers of the others')
  const resumedAt = performance.now()
  servers[2].node.resume()
  await waitFor(() => answeredBy(results, 'c', resumedAt), 10_000, 'c answering again')
  await stop()
  expect(results.filter(isError)).toEqual([])
  expect(Math.max(...results.map(({ sentAt, endedAt }) => endedAt - sentAt))).toBeLessThan(3_000)
})

test('holdfast gateway - says when it is ready, serves, and ends with exit code 0 on SIGTERM', async () => {
  const servers = [await server('a'), await server('b')]
  const args = ['gateway', ...servers.flatMap(({ url }) => ['--to', url]), '--port', '0']
  const gateway = await spawnNode(CLI, { args, ready: /^ready: / })
  onTestFinished(() => gateway.kill())
  const [, url] = /^ready: gateway (http:\/\/127\.0\.0\.1:\d+) · 2 of 2 servers up$/.exec(gateway.ready) ?? []
  const texts = [await (await fetch(`${url}/`)).text(), await (await fetch(`${url}/`)).text()]
  expect(texts).toEqual(['a', 'b'])
  await gateway.stop()
  expect(await gateway.exited).toEqual({ code: 0, signal: null })
})

test('holdfast gateway - mistakes are one line: 2 for wrong usage, 1 for a busy port', async () => {
  const busy = await server('a')
  for (const [args, code, line] of [
    [[], 2, /^holdfast: .*--to/],
    [['--to', 'nonsense'], 2, /^holdfast: .*http:\/\/HOST:PORT/],
    [['--to', busy.url, '--policy', 'best'], 2, /^holdfast: .*round-robin/],
    [['--to', busy.url, '--to', busy.url], 2, /^holdfast: .*is named twice/],
    [['--to', busy.url, '--tls-key', '/nowhere', '--tls-cert', '/nowhere'], 2, /^holdfast: --tls-key: .*cannot be read/],
    [['--config', '/nowhere'], 2, /^holdfast: --config: .*cannot be read/],
    [['--to', `http://127.0.0.1:${await freePort()}`, '--port', String(busy.port)], 1, /^holdfast: .*in use/],
  ] as const) {
    const ended = await spawnNode(CLI, { args: ['gateway', ...args], ready: false })
    expect((await ended.exited).code).toBe(code)
    await waitFor(() => line.test(ended.output()), 2_000, 'the message')
    expect(ended.output().trim().split('\n')).toHaveLength(1)
  }
})

test('holdfast gateway - SIGHUP reads the list of servers again; a file with mistakes changes nothing', async () => {
  const [a, b] = [await server('a'), await server('b')]
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-gateway-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'gateway.json')
  const write = (value: unknown): Promise<void> => writeFile(file, typeof value === 'string' ? value : JSON.stringify(value))
  await write({ to: [a.url], policy: 'least-connections', port: 0, metrics: { port: 0 } })
  const gateway = await spawnNode(CLI, { args: ['gateway', '--config', file, '--access-log'], ready: /^ready: / })
  onTestFinished(() => gateway.kill())
  const [, url = ''] = /^ready: gateway (\S+) · 1 of 1 servers up · metrics on port \d+$/.exec(gateway.ready) ?? []
  const text = async (): Promise<string> => (await fetch(`${url}/?token=secret`)).text()
  expect(await text()).toBe('a')
  expect(JSON.parse(await gateway.line('{'))).toMatchObject({ path: '/', status: 200 })
  await write({ to: [b.url] })
  process.kill(gateway.pid, 'SIGHUP')
  await gateway.line('reloaded: 1 of 1 servers up')
  expect(await text()).toBe('b')
  for (const bad of ['{', { to: [b.url, b.url] }, { to: [] }]) {
    const before = gateway.output().split('Nothing was reloaded').length
    await write(bad)
    process.kill(gateway.pid, 'SIGHUP')
    await waitFor(() => gateway.output().split('Nothing was reloaded').length > before, 5_000, 'the line')
    expect(await text()).toBe('b')
  }
  await gateway.stop()
  expect(await gateway.exited).toEqual({ code: 0, signal: null })
  expect(gateway.output()).not.toContain('secret')
})
