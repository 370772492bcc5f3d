/**
 * `npm run bench -- outage`: what visitors get while the session server stands still for five seconds, with Holdfast and with
 * express-session + connect-redis: answers by status, the slowest, those that never came, and how soon all is well again.
 */
import { fork } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startRedis } from '../test/setup/servers.ts'
import type { RunningRedis } from '../test/setup/servers.ts'
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

/** One line of the report. */
type Row = readonly [name: string, answers: string, slowest: string, back: string, after: string, server: string]

const HEAD: Row = ['', 'answers while it stood still', 'slowest', 'last failure', 'afterwards', 'the server']
const WIDTHS = [34, 32, 10, 16, 20, 0]

const HOW_TO_READ = `
The session server stands still (SIGSTOP) for ${STOPPED_MS / 1_000} s. One visitor with a session asks every ${EVERY_MS} ms, until 3 s after its return.
  answers       200: the session was read; 503: an honest refusal that a client retries; hung: none within ${PATIENCE_MS / 1_000} s; broken: the connection ended
  slowest       of all answers: how long a visitor can be kept waiting
  last failure  after the session server's return; 0.00 s: nothing failed any more from then on
  afterwards    whether the visitor's session is still theirs
  the server    whether the application's process survived, and how many lines it wrote about it`

async function run(name: string): Promise<Row> {
  const redis = await startRedis()
  const options: VariantOptions = { storeUrl: redis.url, port: 0, meshPort: 0, peers: [], node: 'n1' }
  const child = fork(join(import.meta.dirname, 'server.ts'), [name, JSON.stringify(options)], {
    env: { ...process.env, NODE_ENV: 'production' },
    silent: true,
  })
  // Express prints every refusal with its stack: that is counted, and shown only where the process did not survive.
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (log += chunk.toString()))
  let ended: number | null | undefined
  const exited = new Promise<never>((_, reject) => {
    child.once('exit', (code) => {
      ended = code ?? -1
      reject(new Error(`${name} ended with ${ended} while it started\n${log}`))
    })
  })
  exited.catch(() => {})
  try {
    const listening = new Promise<number>((resolve) => child.once('message', (message: { port: number }) => resolve(message.port)))
    const port = await Promise.race([listening, exited])
    const url = `http://127.0.0.1:${port}/read`
    const seeded = await fetch(`http://127.0.0.1:${port}/seed`)
    const cookie = seeded.headers
      .getSetCookie()
      .map((text) => text.split(';')[0])
      .join('; ')
    const { answers, resumedAt } = await visitDuringOutage(url, cookie, redis)
    const after = await ask(url, cookie)
    const lines = log.split('\n').length - 1
    if (ended !== undefined) console.error(log)
    return [
      name,
      statusesOf(answers.filter(({ at }) => at < resumedAt)),
      `${(Math.max(...answers.map(({ tookMs }) => tookMs)) / 1_000).toFixed(2)} s`,
      `${((lastFailure(answers, resumedAt) - resumedAt) / 1_000).toFixed(2)} s`,
      after.isKnown ? 'still logged in' : `a stranger (${after.status})`,
      ended === undefined ? `no crash, ${lines} lines` : `ended with ${ended}`,
    ]
  } finally {
    child.kill('SIGKILL')
    await redis.stop()
  }
}

async function visitDuringOutage(
  url: string,
  cookie: string,
  redis: RunningRedis,
): Promise<{ answers: readonly Answer[]; resumedAt: number }> {
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
  return { answers: await Promise.all(asked), resumedAt }
}

function statusesOf(answers: readonly Answer[]): string {
  const counts = new Map<string, number>()
  for (const { status } of answers) counts.set(String(status), (counts.get(String(status)) ?? 0) + 1)
  return [...counts].map(([status, count]) => `${count} × ${status}`).join(', ')
}

function lastFailure(answers: readonly Answer[], resumedAt: number): number {
  return Math.max(...answers.filter(({ isKnown }) => !isKnown).map(({ at, tookMs }) => at + tookMs), resumedAt)
}

function lineOf(row: Row): string {
  return row
    .map((cell, index) => cell.padEnd(WIDTHS[index] as number))
    .join('')
    .trimEnd()
}

installPeers()
console.log(lineOf(HEAD))
for (const name of VARIANTS) console.log(lineOf(await run(name)))
console.log(HOW_TO_READ)
