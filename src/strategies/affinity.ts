import type { Policy } from '../cluster/placement.ts'
import type { RouteFormat, SlotOrder } from '../core/slot-order.ts'
import type { SessionStrategy, Transport } from '../seam.ts'
import { refuseOptions, runClustered, sessionBytesProblem } from './clustered.ts'

export interface AffinityOptions {
  /** Joins the servers. Without it there are no backups, and a server's death loses its sessions. */
  transport?: Transport
  /** Servers beside the owner that hold each session. Default 1 with a transport, else 0. */
  backups?: number
  /** Backups that must have a write before it is answered. Default `backups`. */
  acks?: number
  /** When too few servers run: answer anyway and emit `degraded`, or refuse with SESSION_UNAVAILABLE. Default `continue`. */
  onDegraded?: 'continue' | 'fail'
  /** When a write the visitor has seen is lost: serve the best copy or fail. Default: fail when a user is bound, serve otherwise. */
  onRegression?: 'serve' | 'fail'
  /**
   * While this server is out of touch with the majority: `continue`, the default, serves what it holds, so that a session revoked elsewhere may
   * stay valid here; `fail` answers SESSION_UNAVAILABLE.
   */
  whenCutOff?: 'continue' | 'fail'
  /**
   * Which servers are a session's backups, and take it over: `rendezvous()` (the default), or `nginxRing`, `haproxyRing` for a balancer that hashes.
   * From `holdfast/balancers`; the same on every server.
   */
  placement?: SlotOrder
  /**
   * What the cookie `<name>-route` tells the balancer in front: `nameRoute` for nginx and HAProxy, `slotRoute` for those that hash, `envoyRoute`,
   * `traefikRoute`, `caddyRoute`, all from `holdfast/balancers`. Default: labels that Holdfast's own gateway understands.
   */
  route?: RouteFormat
}

/** Each session lives on the server its visitor is routed to, and on `backups` others. */
export function affinity(options: AffinityOptions = {}): SessionStrategy {
  const { onDegraded = 'continue', onRegression, transport, whenCutOff = 'continue' } = options
  const backups = options.backups ?? (transport === undefined ? 0 : 1)
  const acks = options.acks ?? backups
  const problems: string[] = []
  if (transport !== undefined && typeof transport.start !== 'function')
    problems.push('`transport` must be a transport, for example tcpTransport({ cluster, secrets, peers }).')
  if (!Number.isInteger(backups) || backups < 0) problems.push('`backups` must be a whole number of at least 0.')
  if (transport === undefined && backups > 0) problems.push('`backups` need a `transport` to reach the other servers.')
  if (!Number.isInteger(acks) || acks < 0) problems.push('`acks` must be a whole number of at least 0.')
  if (acks > backups) problems.push('`acks` must not be more than `backups`.')
  if (!['continue', 'fail'].includes(whenCutOff)) problems.push("`whenCutOff` must be 'continue' or 'fail'.")
  const { placement, route } = options
  if (placement !== undefined && typeof placement.order !== 'function')
    problems.push("`placement` must be one of 'holdfast/balancers', for example rendezvous().")
  if (route !== undefined && typeof route !== 'function')
    problems.push("`route` must be a function, for example nameRoute from 'holdfast/balancers'.")
  refuseOptions(problems)
  const policy: Policy = { kind: 'owner', backups, ...(placement !== undefined && { order: placement }) }

  return {
    name: 'affinity',
    capabilities: new Set(['update', 'list', 'revoke', 'revokeUser'] as const),
    start(context) {
      refuseOptions(sessionBytesProblem(context.limits.sessionBytes))
      const shared = {
        name: 'affinity',
        policy,
        acks,
        onDegraded,
        onRegression,
        whenCutOff,
        notProtected: notProtected(backups, onDegraded, whenCutOff),
        ...(route !== undefined && { route: safely(route, context.logger) }),
      } as const
      return runClustered({ ...shared, transport: transport ?? noTransport() }, context)
    },
  }
}

const COOKIE_VALUE = /^[!#-+\--:<-[\]-~]{1,1024}$/

/** A format of the application's own must not fail a request that has stored its data already: no cookie then, and one warning. */
function safely(format: RouteFormat, logger: Pick<Console, 'warn'>): RouteFormat {
  let told = false
  return (route) => {
    let why = 'is no value for a cookie'
    try {
      const value = format(route)
      if (value === undefined || COOKIE_VALUE.test(value)) return value
    } catch (error) {
      why = `failed (${error instanceof Error ? error.name : 'no Error'})`
    }
    if (!told) logger.warn(`holdfast: what affinity's \`route\` returned ${why}: visitors are not told their server.`)
    told = true
    return undefined
  }
}

function notProtected(backups: number, onDegraded: 'continue' | 'fail', whenCutOff: 'continue' | 'fail'): string[] {
  const list = ['A restart of all servers at once loses every session: keep them in a store (dedicated) to survive it.']
  if (backups === 0) list.push('Without backups the death of a server loses its sessions.')
  if (backups > 0 && onDegraded === 'continue')
    list.push('While too few servers run, writes are answered with fewer copies than asked for.')
  if (whenCutOff === 'continue')
    list.push('While this server is cut off from the majority, sessions revoked there stay valid here (whenCutOff).')
  return list
}

/** A cluster of one. */
function noTransport(): Transport {
  return {
    name: 'none',
    start: async () => undefined,
    peers: () => [],
    send: () => false,
    refuse: () => undefined,
    traffic: () => ({ sentBytes: 0, receivedBytes: 0 }),
    close: async () => undefined,
  }
}
