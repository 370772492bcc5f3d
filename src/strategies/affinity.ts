import type { Policy } from '../cluster/placement.ts'
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
  refuseOptions(problems)
  const policy: Policy = { kind: 'owner', backups }

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
      } as const
      return runClustered({ ...shared, transport: transport ?? noTransport() }, context)
    },
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
