/** A lab started the way a user starts it, through the built command line, and what tests ask of it. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CookieJar } from 'tough-cookie'
import { type RunningNode, spawnNode, within } from '../setup/servers.ts'

export const CLI: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

const READY = /^ready: shop (http:\/\/127\.0\.0\.1:\d+) · control (http:\/\/127\.0\.0\.1:\d+)$/
const REQUEST_DEADLINE_MS = 40_000

export type NodeState = 'up' | 'joining' | 'paused' | 'draining' | 'down'
export interface LabNode {
  id: string
  url: string
  pid: number | null
  state: NodeState
  sessions: number
  rssBytes: number
  sentBytes: number
  receivedBytes: number
}
export interface LabCluster {
  strategy: string
  gateway: { url: string; policy: string }
  nodes: LabNode[]
  totals: { sessions: number; lost: number; lostUpdates: number; stale: number; failed: number }
}
export interface ShopAnswer {
  node: string
  isNew: boolean
  user: string | null
  key: string | null
  data: Record<string, unknown>
}

export interface RunningLab extends RunningNode {
  readonly shop: string
  readonly control: string
  /** The answer of the control API; `body` is null for an empty one. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows what the address answers
  api<T = LabCluster>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; headers: Headers; body: T }>
  cluster(): Promise<LabCluster>
}

export function requireBuild(): void {
  if (!existsSync(CLI)) throw new Error('dist is missing: run npm run build before these tests')
}

/** Free ports, plain output. Ends with the test process, or by `stop()`. */
export async function startLab(...args: string[]): Promise<RunningLab> {
  requireBuild()
  const all = ['lab', '--headless', '--port', '0', '--control-port', '0', ...args]
  const lab = await spawnNode(CLI, { args: all, ready: READY, readyDeadlineMs: 60_000, env: NO_VARIABLES })
  const [, shop = '', control = ''] = READY.exec(lab.ready) ?? []
  const api: RunningLab['api'] = async (method, path, body, headers = {}) => {
    const init: RequestInit = { method, headers, signal: AbortSignal.timeout(REQUEST_DEADLINE_MS) }
    if (body !== undefined) Object.assign(init, { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } })
    const response = await fetch(`${control}${path}`, init)
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) }
  }
  return { ...lab, shop, control, api, cluster: async () => (await api('GET', '/api/cluster')).body }
}

const NO_VARIABLES: Record<string, undefined> = Object.fromEntries(
  Object.keys(process.env)
    .filter((name) => name.startsWith('HOLDFAST_'))
    .map((name) => [name, undefined]),
)

/** Runs the command line to its end. */
export async function runCli(...args: string[]): Promise<{ code: number | null; output: string }> {
  requireBuild()
  const run = await spawnNode(CLI, { args, ready: false, env: NO_VARIABLES })
  const { code } = await within(run.exited, 20_000, `holdfast ${args.join(' ')}`)
  return { code, output: run.output() }
}

/** True while a process of this id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** A browser's cookies without a browser. */
export class ShopVisitor {
  readonly #jar = new CookieJar()
  readonly #base: string

  constructor(base: string) {
    this.#base = base
  }

  async request(
    method: string,
    path: string,
    body?: object,
  ): Promise<{ status: number; answer: ShopAnswer | undefined; node: string | null }> {
    const url = `${this.#base}${path}`
    const headers: Record<string, string> = { cookie: await this.#jar.getCookieString(url) }
    if (body !== undefined) headers['content-type'] = 'application/json'
    const payload = body === undefined ? null : JSON.stringify(body)
    const response = await fetch(url, { method, headers, body: payload, signal: AbortSignal.timeout(REQUEST_DEADLINE_MS) })
    for (const cookie of response.headers.getSetCookie()) await this.#jar.setCookie(cookie, url)
    const text = await response.text()
    return {
      status: response.status,
      node: response.headers.get('x-lab-node'),
      answer: response.ok && text !== '' ? JSON.parse(text) : undefined,
    }
  }

  /** The answer of a request that must succeed. */
  async ask(method: string, path: string, body?: object): Promise<ShopAnswer> {
    const { answer, status } = await this.request(method, path, body)
    if (answer === undefined) throw new Error(`${method} ${path} was answered ${status}`)
    return answer
  }
}
