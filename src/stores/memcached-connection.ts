import { createConnection } from 'node:net'
import type { Socket } from 'node:net'
import type { SessionError } from '../errors.ts'
import type { Runtime, Timer } from '../seam.ts'
import { unavailable } from './availability.ts'
import { memcachedHandshake } from './memcached-handshake.ts'
import type { MemcachedAddress } from './memcached-options.ts'
import { MemcachedProtocolError, replyParser } from './memcached-parser.ts'
import type { MemcachedReply } from './memcached-parser.ts'
import { commandQueue } from './memcached-queue.ts'
import type { CommandQueue } from './memcached-queue.ts'

/** One server: one connection at a time, replaced whenever it breaks or does not answer. */
export interface MemcachedConnection {
  readonly name: string
  /** Usable, or about to be: a connection that was just closed is being replaced. */
  readonly isUp: boolean
  /** It was tried, in vain. */
  readonly isDown: boolean
  /** The last problem, as a word without anything secret. */
  readonly problem: string
  /** Another number for each connection: the server may have restarted in between, and then CAS values begin again. */
  readonly life: number
  /** The largest item the server takes, its key and header included. */
  readonly itemBytes: number
  /** True once usable; false when that took longer, or, with `tried`, when the first attempt failed. */
  whenUp(ms: number, tried?: boolean): Promise<boolean>
  /**
   * `line` without its line end; `value` follows it. Rejects with STORE_UNAVAILABLE at `until` (monotonic ms) at the latest.
   * `life`: only on this connection, otherwise undefined.
   */
  send(line: string, value: Buffer | undefined, until: number, life?: number): Promise<MemcachedReply | undefined>
  unreachable(problem?: string): SessionError
  close(): void
}

export interface MemcachedListener {
  readonly runtime: Runtime
  readonly deadlineMs: number
  up(): void
  down(problem: string): void
}

const HANDSHAKE_MS = 1_000
const REPLACE_WITHIN_MS = 25
const REPLACING_MS = 250
const FIRST_BACKOFF_MS = 50
const LONGEST_BACKOFF_MS = 400
const KEEP_ALIVE_MS = 30_000
/** Until the server has said how much it takes. */
const ITEM_BYTES = 1_048_576
const VALUE_BYTES_MOST = 64 * 1_048_576

/** One attempt and what becomes of it. */
interface Link {
  readonly socket: Socket
  readonly life: number
  readonly queue: CommandQueue
  isReady: boolean
}

export function memcachedConnection({ host, port, name }: MemcachedAddress, listener: MemcachedListener): MemcachedConnection {
  const { runtime, deadlineMs } = listener
  const waiters = new Set<() => void>()
  let link: Link | undefined
  let lives = 0
  let failures = 0
  let itemBytes = ITEM_BYTES
  let problem = 'not connected yet'
  let timer: Timer | undefined
  let closed = false
  let wasTried = false
  let isReplacing = false

  function connect(): void {
    const socket = createConnection({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS })
    const queue = commandQueue(socket, { runtime, deadlineMs, stalled: () => lost(mine, 'no answer', true), failed: unreachable })
    const mine: Link = { socket, life: ++lives, queue, isReady: false }
    link = mine
    const parser = replyParser(() => Math.min(itemBytes, VALUE_BYTES_MOST))
    const handshake = memcachedHandshake()
    const take = (reply: MemcachedReply): void => {
      if (mine.isReady) return queue.answer(reply)
      const outcome = handshake.take(reply)
      if (outcome !== undefined) ready(mine, outcome.itemBytes)
    }
    socket.on('data', (packet: Buffer) => {
      try {
        for (const reply of parser.push(packet)) if (mine === link) take(reply)
      } catch (error) {
        lost(mine, error instanceof MemcachedProtocolError ? error.message : 'not understood', !mine.isReady)
      }
    })
    let isOpen = false
    const broken = (why: string): void => lost(mine, isOpen && !mine.isReady ? 'hung up at the greeting' : why)
    socket.on('connect', () => (isOpen = true))
    socket.on('error', (error: NodeJS.ErrnoException) => broken(codeOf(error)))
    socket.on('close', () => broken('connection closed'))
    socket.write(handshake.request)
    timer = runtime.setTimer(HANDSHAKE_MS, () => lost(mine, 'no answer'))
  }

  function ready(mine: Link, bytes: number | undefined): void {
    timer?.cancel()
    itemBytes = bytes ?? ITEM_BYTES
    mine.isReady = true
    failures = 0
    wasTried = true
    isReplacing = false
    listener.up()
    wake()
  }

  function lost(mine: Link, why: string, isOutage = false): void {
    if (mine !== link || closed) return
    link = undefined
    problem = why
    timer?.cancel()
    // A closed connection is no outage yet; one that cannot be replaced, or does not answer, is.
    isReplacing = mine.isReady && !isOutage
    if (!isReplacing) {
      wasTried = true
      listener.down(why)
    }
    timer = runtime.setTimer(backoff(), connect)
    wake()
    mine.socket.destroy()
    mine.queue.end()
  }

  function backoff(): number {
    const jitter = (runtime.randomBytes(1)[0] as number) / 256
    if (isReplacing) return jitter * REPLACE_WITHIN_MS
    const most = Math.min(FIRST_BACKOFF_MS * 2 ** failures, LONGEST_BACKOFF_MS)
    failures = Math.min(failures + 1, 10)
    return most * (0.5 + jitter / 2)
  }

  function wake(): void {
    for (const look of [...waiters]) look()
  }

  function usable(): Link | undefined {
    return link?.isReady === true ? link : undefined
  }

  function whenUp(ms: number, tried = false): Promise<boolean> {
    const isOver = (): boolean => usable() !== undefined || closed || (tried && wasTried && !isReplacing)
    if (isOver()) return Promise.resolve(usable() !== undefined)
    return new Promise((resolve) => {
      const look = (): void => {
        if (isOver()) end()
      }
      const end = (): void => {
        waiting.cancel()
        waiters.delete(look)
        resolve(usable() !== undefined)
      }
      const waiting = runtime.setTimer(ms, end)
      waiters.add(look)
    })
  }

  function unreachable(why: string = problem): SessionError {
    return unavailable(`cannot reach Memcached at ${name} (${why}): ${ADVICE[why] ?? 'start it, or correct the servers of memcachedStore'}`)
  }

  connect()
  return {
    name,
    get isUp(): boolean {
      return usable() !== undefined || isReplacing
    },
    get isDown(): boolean {
      return wasTried && usable() === undefined && !isReplacing
    },
    get problem(): string {
      return problem
    },
    get life(): number {
      return usable()?.life ?? 0
    },
    get itemBytes(): number {
      return itemBytes
    },
    whenUp,
    async send(line, value, until, life): Promise<MemcachedReply | undefined> {
      // A connection that was just closed is replaced within milliseconds: worth a short wait, unlike an outage.
      if (isReplacing) await whenUp(Math.min(REPLACING_MS, until - runtime.monotonic()), true)
      const open = usable()
      if (open === undefined) throw unreachable()
      if (life !== undefined && life !== open.life) return undefined
      return open.queue.send(line, value, until)
    },
    unreachable,
    close(): void {
      closed = true
      timer?.cancel()
      problem = 'memcachedStore was closed'
      const open = link
      link = undefined
      open?.socket.destroy()
      open?.queue.end()
      wake()
    },
  }
}

const ADVICE: Readonly<Record<string, string>> = {
  'no answer': 'it accepts connections but does not answer: check its load, or whether it is stopped',
  'too many connections': 'raise its limit (memcached -c)',
  'wants authentication': 'SASL and passwords are not supported: start it without -S and -Y, on a private network',
  'hung up at the greeting': 'if it demands TLS (-Z) or SASL (-S), start it without, on a private network: memcachedStore speaks neither',
  'no meta protocol': 'it has to be Memcached 1.6 or newer',
  'too many commands under way': 'add servers or lower the load',
  'memcachedStore was closed': 'use nothing after close()',
}

function codeOf({ code }: NodeJS.ErrnoException): string {
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]*$/.test(code) ? code : 'connection failed'
}
