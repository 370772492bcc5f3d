import type { Runtime, Timer } from '../seam.ts'
import { MAX_ADDRESSES } from './tcp-messages.ts'
import { type Address, formatAddress } from './tcp-options.ts'

const FIRST_RETRY_MS = 100
/** A link that a partition cut has to be back within a second of its heal, or soon after. */
const LAST_RETRY_MS = 1000
/** After a peer broke the protocol. */
const LATER_MS = 5000
const SLOW_RETRY_MS = 30_000
/** A learned address that fails this often in a row, at the slowest pace, is forgotten: about two minutes. */
const FORGET_AFTER = 150

/** When to dial an address again after its link has ended. `own`: it leads to this server. */
export type Retry = 'soon' | 'later' | 'slow' | 'own'

/** What the mesh tells about one attempt. */
export interface Attempt {
  readonly address: Address
  /** The server behind the address: it is not dialled while that server is linked. */
  identified(incarnation: string): void
  up(): void
  /** The link or the attempt has ended. Only the first call counts. */
  ended(retry: Retry): void
}

export interface DialerOptions {
  runtime: Runtime
  dial(attempt: Attempt): void
  isUp(incarnation: string): boolean
}

type Source = 'configured' | 'dns' | 'learned'

interface Target {
  readonly address: Address
  source: Source
  incarnation: string | undefined
  failures: number
  busy: boolean
  own: boolean
  timer: Timer | undefined
  /** Resolvers of those who wait for the first attempt. */
  waiting: (() => void)[]
}

/** Knows the addresses of servers and keeps dialling those that are not linked, with jittered backoff. */
export interface Dialer {
  /** Resolves when the first attempt has ended, one way or the other. */
  add(address: Address, source: 'configured' | 'dns'): Promise<void>
  /** What DNS does not name any more is dropped once its link ends. */
  keepOnly(addresses: readonly Address[]): void
  learn(address: Address, incarnation: string): void
  peerDown(incarnation: string, retry: Retry): void
  close(): void
}

export function createDialer(options: DialerOptions): Dialer {
  const { runtime } = options
  const targets = new Map<string, Target>()
  let closed = false

  function settle(target: Target): void {
    for (const resolve of target.waiting.splice(0)) resolve()
  }

  function drop(target: Target): void {
    target.timer?.cancel()
    settle(target)
    targets.delete(formatAddress(target.address))
  }

  function plan(target: Target, ms: number): void {
    target.timer?.cancel()
    // Half of the wait is random, so that servers which fell together do not come back in step.
    const share = runtime.randomBytes(2).readUInt16BE(0) / 65_536
    target.timer = runtime.setTimer(ms * (0.5 + share / 2), () => attempt(target))
  }

  function retryMs(target: Target, retry: Retry): number {
    if (retry === 'soon') return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** target.failures)
    return retry === 'later' ? LATER_MS : SLOW_RETRY_MS
  }

  function ended(target: Target, retry: Retry): void {
    target.busy = false
    target.own = retry === 'own'
    settle(target)
    if (closed || targets.get(formatAddress(target.address)) !== target) return
    if (target.source === 'learned' && target.failures >= FORGET_AFTER) return drop(target)
    plan(target, retryMs(target, retry))
    target.failures++
  }

  function attempt(target: Target): void {
    if (closed || target.busy) return
    if (target.incarnation !== undefined && options.isUp(target.incarnation)) {
      settle(target)
      return plan(target, LATER_MS)
    }
    target.busy = true
    let over = false
    options.dial({
      address: target.address,
      identified: (incarnation) => {
        target.incarnation = incarnation
      },
      up: () => {
        target.failures = 0
        settle(target)
      },
      ended: (retry) => {
        if (over) return
        over = true
        ended(target, retry)
      },
    })
  }

  function ensure(address: Address, source: Source): Target {
    const key = formatAddress(address)
    const known = targets.get(key)
    if (known !== undefined) return known
    const target: Target = { address, source, incarnation: undefined, failures: 0, busy: false, own: false, timer: undefined, waiting: [] }
    targets.set(key, target)
    return target
  }

  return {
    add(address, source) {
      const isNew = !targets.has(formatAddress(address))
      const target = ensure(address, source)
      if (target.source === 'learned') target.source = source
      if (!isNew || closed) return Promise.resolve()
      return new Promise((resolve) => {
        target.waiting.push(resolve)
        attempt(target)
      })
    },
    keepOnly(addresses) {
      const named = new Set(addresses.map(formatAddress))
      for (const [key, target] of targets) {
        if (target.source !== 'dns' || named.has(key)) continue
        if (target.busy) target.source = 'learned'
        else drop(target)
      }
    },
    learn(address, incarnation) {
      const known = targets.get(formatAddress(address))
      if (closed || (known === undefined && targets.size >= MAX_ADDRESSES)) return
      const target = known ?? ensure(address, 'learned')
      if (!target.own) target.incarnation = incarnation
      if (known === undefined) attempt(target)
    },
    peerDown(incarnation, retry) {
      for (const target of targets.values()) {
        if (target.incarnation !== incarnation || target.busy || closed) continue
        target.failures = 0
        plan(target, retryMs(target, retry))
      }
    },
    close() {
      closed = true
      for (const target of [...targets.values()]) drop(target)
    },
  }
}
