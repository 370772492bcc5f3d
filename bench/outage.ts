/**
 * `npm run bench -- outage`: what visitors get while the session server stands still for five seconds, with Holdfast and with
 * express-session + connect-redis: answers by status, the slowest, those that never came, and how soon all is well again.
 */
import { fork } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startRedis } from '../test/setup/servers.ts'
import { installPeers } from './peers.ts'
import type { VariantOptions } from './variants.ts'

const VARIANTS = ['dedicated (Redis)', 'express-session + connect-redis']
const STOPPED_MS = 5_000
const EVERY_MS = 50
/** A visitor gives up after this long: counted as hung. */
const PATIENCE_MS = 15_000

interface Answer {
  readonly at: number
  readonly status: number | 'hung' | 'broken'
  readonly tookMs: number
  readonly isKnown: boolean
}

async function ask(url: string, cookie: string): Promise<Answer> {
  const at = performance.now()
  try {
    const response = await fetch(url, { headers: { cookie }, signal: AbortSignal.timeout(PATIENCE_MS) })
    const body = await response.text()
    return { at, status: response.status, tookMs: performance.now() - at, isKnown: body.startsWith('[0,') }
  } catch (error) {
    const status = (error as Error).name === 'TimeoutError' ? 'hung' : 'broken'
    return { at, status, tookMs: performance.now() - at, isKnown: false }
  }
}

async function run(name: string): Promise<string> {
  const redis = await startRedis()
  const options: VariantOptions = { storeUrl: redis.url, port: 0, meshPort: 0, peers: [], node: 'n1' }
  const child = fork(join(import.meta.dirname, 'server.ts'), [name, JSON.stringify(options)], {
    env: { ...process.env, NODE_ENV: 'production' },
  })
  let ended: number | null | undefined
  child.once('exit', (code) => (ended = code ?? -1))
  try {
    const port = await new Promise<number>((resolve) => child.once('message', (message: { port: number }) => resolve(message.port)))
    const url = `http://127.0.0.1:${port}/read`
    const seeded = await fetch(`http://127.0.0.1:${port}/seed`)
    const cookie = seeded.headers
      .getSetCookie()
      .map((text) => text.split(';')[0])
      .join('; ')
    redis.pause()
    const stoppedAt = performance.now()
    const asked: Promise<Answer>[] = []
    let resumedAt = Number.POSITIVE_INFINITY
    while (performance.now() < Math.min(resumedAt, stoppedAt + STOPPED_MS) + 3_000) {
      asked.push(ask(url, cookie))
      await sleep(EVERY_MS)
      if (resumedAt === Number.POSITIVE_INFINITY && performance.now() >= stoppedAt + STOPPED_MS) {
        redis.resume()
        resumedAt = performance.now()
      }
    }
    const answers = await Promise.all(asked)
    const during = answers.filter(({ at }) => at < resumedAt)
    const statuses = new Map<string, number>()
    for (const { status } of during) statuses.set(String(status), (statuses.get(String(status)) ?? 0) + 1)
    const slowest = Math.max(...answers.map(({ tookMs }) => tookMs))
    const bad = answers.filter(({ isKnown }) => !isKnown)
    const wellAt = Math.max(...bad.map(({ at, tookMs }) => at + tookMs), resumedAt)
    const after = await ask(url, cookie)
    return [
      name.padEnd(34),
      `while stopped: ${[...statuses].map(([status, count]) => `${count} × ${status}`).join(', ')};`,
      `slowest ${(slowest / 1000).toFixed(2)} s;`,
      `last failure ${((wellAt - resumedAt) / 1000).toFixed(2)} s after the return;`,
      `afterwards ${after.isKnown ? 'still logged in' : `a stranger (${after.status})`};`,
      ended === undefined ? 'no crash' : `the server ended with ${ended}`,
    ].join(' ')
  } finally {
    child.kill('SIGKILL')
    await redis.stop()
  }
}

installPeers()
for (const name of VARIANTS) console.log(await run(name))
