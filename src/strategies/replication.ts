import type { Policy } from '../cluster/placement.ts'
import type { SessionStrategy, Transport } from '../seam.ts'
import { refuseOptions, runClustered, sessionBytesProblem } from './clustered.ts'

export interface ReplicationOptions {
  /** Joins the servers: `tcpTransport`, or `memoryTransport` in tests. One per strategy. */
  transport: Transport
  /** Servers that hold each session: all, or so many. Default `all`. */
  copies?: 'all' | number
  /** Servers beside the writing one that must have a write before it is answered. Less than `copies`. Default 1. */
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

/** Every server (or the first `copies` of them) holds every session. */
export function replication(options: ReplicationOptions): SessionStrategy {
  const { acks = 1, copies = 'all', onDegraded = 'continue', onRegression, transport, whenCutOff = 'continue' } = options
  const problems: string[] = []
  if (typeof transport?.start !== 'function')
    problems.push('replication needs `transport`, for example tcpTransport({ cluster, secrets, peers }).')
  if (copies !== 'all' && (!Number.isInteger(copies) || copies < 1))
    problems.push("`copies` must be 'all' or a whole number of at least 1.")
  if (!Number.isInteger(acks) || acks < 0) problems.push('`acks` must be a whole number of at least 0.')
  if (typeof copies === 'number' && acks >= copies) problems.push('`acks` must be less than `copies`: it counts holders beside the first.')
  if (!['continue', 'fail'].includes(whenCutOff)) problems.push("`whenCutOff` must be 'continue' or 'fail'.")
  refuseOptions(problems)
  const policy: Policy = copies === 'all' ? { kind: 'all' } : { kind: 'first', copies }

  return {
    name: 'replication',
    capabilities: new Set(['update', 'list', 'revoke', 'revokeUser'] as const),
    start(context) {
      refuseOptions(sessionBytesProblem(context.limits.sessionBytes))
      return runClustered(
        {
          name: 'replication',
          transport,
          policy,
          acks,
          onDegraded,
          onRegression,
          whenCutOff,
          notProtected: notProtected(acks, onDegraded, whenCutOff),
        },
        context,
      )
    },
  }
}

function notProtected(acks: number, onDegraded: 'continue' | 'fail', whenCutOff: 'continue' | 'fail'): string[] {
  const list = ['A restart of all servers at once loses every session: keep them in a store (dedicated) to survive it.']
  if (acks === 0) list.push('With acks 0 a write is answered before another server has it.')
  if (onDegraded === 'continue') list.push('While too few servers run, writes are answered with fewer copies than asked for.')
  if (whenCutOff === 'continue')
    list.push('While this server is cut off from the majority, sessions revoked there stay valid here (whenCutOff).')
  return list
}
