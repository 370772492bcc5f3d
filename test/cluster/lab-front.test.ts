import { createServer, type Server } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { createFront, type Front } from '../../src/lab/front.ts'
import { freePort } from '../setup/ports.ts'
import { waitFor, within } from '../setup/servers.ts'

/** A server of the lab, as the gateway sees one: it tells whether it takes visitors, and answers when it is told to. */
interface Stub {
  readonly address: { readonly id: string; readonly url: string }
  serving: boolean
  held: boolean
  readonly waiting: (() => void)[]
  stop(): Promise<void>
}

const running: { stop(): Promise<void> }[] = []
let front: Front | undefined
afterEach(async () => {
  await front?.close()
  front = undefined
  for (const one of running.splice(0)) await one.stop()
})

async function startStub(id: string, port = 0): Promise<Stub> {
  const waiting: (() => void)[] = []
  const server: Server = createServer((request, response) => {
    if (request.url === '/health') return void response.writeHead(stub.serving ? 200 : 503).end()
    if (stub.held) waiting.push(() => void response.end(id))
    else response.end(id)
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  const address = server.address() as { port: number }
  const stub: Stub = { address: { id, url: `http://127.0.0.1:${address.port}` }, serving: true, held: false, waiting, stop }
  running.push(stub)
  return stub
}

async function startFront(...stubs: Stub[]): Promise<string> {
  const port = await freePort()
  front = await createFront({ port, policy: 'round-robin', routeCookie: 'route', servers: stubs.map(({ address }) => address) })
  return `http://127.0.0.1:${port}`
}

const ask = async (url: string): Promise<[status: number, text: string]> => {
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) })
  return [answer.status, await answer.text()]
}

test('lab - a server that is back serves before the next one is taken away: nobody is refused in between', async () => {
  const [first, second] = [await startStub('n1'), await startStub('n2')]
  const url = await startFront(first, second)
  first.serving = false
  // The gateway has to know that it is still starting: only n2 answers.
  await waitFor(async () => (await ask(url))[1] === 'n2' && (await ask(url))[1] === 'n2', 10_000, 'n1 being left out')
  let isBack = false
  const back = front?.serve(first.address).then(() => void (isBack = true))
  for (let request = 0; request < 5; request++) expect(await ask(url)).toEqual([200, 'n2'])
  expect(isBack).toBe(false)
  first.serving = true
  await within(back ?? Promise.resolve(), 10_000, 'n1 being served again')
  await front?.drain('n2')
  for (let request = 0; request < 5; request++) expect(await ask(url)).toEqual([200, 'n1'])
  expect(front?.failed()).toBe(0)
})

test('lab - a server that was drained and started anew at once gets requests again', async () => {
  const [first, second] = [await startStub('n1'), await startStub('n2')]
  const url = await startFront(first, second)
  await front?.drain('n1')
  // So quickly that no health check saw it gone.
  await first.stop()
  await startStub('n1', Number(new URL(first.address.url).port))
  await front?.serve(first.address)
  const answers = [await ask(url), await ask(url), await ask(url), await ask(url)]
  expect(answers.map(([, text]) => text).toSorted()).toEqual(['n1', 'n1', 'n2', 'n2'])
})

test('lab - draining lets a server answer what it has begun', async () => {
  const [first, second] = [await startStub('n1'), await startStub('n2')]
  const url = await startFront(first, second)
  first.held = true
  const asked = [ask(url), ask(url)]
  await waitFor(() => first.waiting.length === 1, 10_000, 'a request being under way at n1')
  let isDrained = false
  const drained = front?.drain('n1').then(() => void (isDrained = true))
  await ask(url)
  expect(isDrained).toBe(false)
  for (const answer of first.waiting) answer()
  await within(drained ?? Promise.resolve(), 10_000, 'n1 being drained')
  expect((await Promise.all(asked)).map(([status]) => status)).toEqual([200, 200])
})
