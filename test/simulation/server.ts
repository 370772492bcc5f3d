/** One server of the simulation: a whole engine on the network, watched, and perhaps mutated. */
import type { Opening, RunningStrategy, Runtime, SessionStrategy, Transport } from '../../src/seam.ts'
import { createSessionsWith } from '../../src/sessions.ts'
import { affinity } from '../../src/strategies/affinity.ts'
import { replication } from '../../src/strategies/replication.ts'
import type { SessionEvent, Sessions } from '../../src/types.ts'
import type { VirtualRuntime } from '../setup/virtual-runtime.ts'
import type { DegradedSpan, RequestFacts } from './history.ts'
import type { Mutation } from './mutation.ts'
import type { Plan } from './plan.ts'
import { witness } from './witness.ts'
import type { World } from './world.ts'

// Simulated sessions hold fields of many shapes.
export type Data = Record<string, any>

export type ServerState = 'starting' | 'up' | 'paused' | 'leaving' | 'down'

export interface SimServer {
  readonly node: string
  /** Counts its runs. */
  readonly run: number
  state: ServerState
  readonly runtime: VirtualRuntime
  readonly sessions: Sessions<Data>
  /** As the engine sees it, mutations included. */
  readonly strategy: RunningStrategy
  /** Requests whose handlers run here: they die with it, and what tells their clients that the connection broke. */
  readonly inFlight: Map<RequestFacts, () => void>
  /** Requests in the socket of a paused server. */
  readonly backlog: (() => void)[]
  /** The request that is being opened now. */
  opening: RequestFacts | undefined
  degraded: DegradedSpan | undefined
}

const SECRET = 'a secret of the simulation, at least 32 bytes'

export interface Beginning {
  readonly world: World
  readonly mutation: Mutation | undefined
  readonly runtime: VirtualRuntime
  readonly node: string
  readonly run: number
}

/** A process starts. */
export function beginServer({ mutation, node, run, runtime, world }: Beginning): SimServer {
  const { history, plan } = world
  const partial: Partial<SimServer> & { node: string } = { node, run, state: 'starting', runtime, inFlight: new Map(), backlog: [] }
  const server = partial as SimServer
  const place = { server, world }
  const wire = witness(lossy(world.network.join(), world), node, history)
  const strategy = observed(strategyOf(plan, mutation?.transport?.(wire, place) ?? wire), server, world, mutation)
  const log = (text: string): void => {
    history.note(() => `${node} says: ${text}`)
    if (text.includes('PEER_PROTOCOL')) history.problems.push(`${node}: ${text}`)
  }
  const sessions = createSessionsWith<Data>(
    {
      node,
      secrets: SECRET,
      strategy,
      lifetime: plan.lifetime,
      cookie: { name: 'session', secure: false },
      logger: { warn: log, error: log },
      onEvent: (event) => heard(world, server, event),
    },
    mutation?.runtime?.(mortal(runtime, server), node) ?? mortal(runtime, server),
  )
  return Object.assign(server, { sessions })
}

/** Frames that vanish, or arrive twice, on an unbroken link. */
function lossy(transport: Transport, world: World): Transport {
  const { drop, duplicate } = world.plan
  if (drop === 0 && duplicate === 0) return transport
  const happens = (chance: number): boolean => !world.isEnding && world.luck.chance(chance)
  return {
    ...transport,
    name: transport.name,
    send: (incarnation, frame) => {
      if (happens(drop)) return true
      const isTaken = transport.send(incarnation, frame)
      if (isTaken && happens(duplicate)) transport.send(incarnation, frame)
      return isTaken
    },
  }
}

function strategyOf(
  { acks, backups, copies, onDegraded, onRegression, strategy, whenCutOff }: Plan,
  transport: Transport,
): SessionStrategy {
  const shared = { transport, acks, onDegraded, whenCutOff, ...(onRegression !== undefined && { onRegression }) }
  return strategy === 'affinity' ? affinity({ ...shared, backups }) : replication({ ...shared, copies })
}

/** Tells each request what its opening found, and lets mutations in. */
function observed(inner: SessionStrategy, server: SimServer, world: World, mutation: Mutation | undefined): SessionStrategy {
  const place = { server, world }
  return {
    name: inner.name,
    capabilities: inner.capabilities,
    start: (context) => {
      const running = inner.start(mutation?.context?.(context, place) ?? context)
      const mutated = mutation?.strategy?.(running, context, place) ?? running
      Object.assign(server, { strategy: mutated })
      return {
        ...mutated,
        open(jar) {
          const request = server.opening
          const opening = mutated.open(jar)
          if (request === undefined) return opening
          if (!(opening instanceof Promise)) return noted(request, opening)
          return opening.then((late) => noted(request, late))
        },
      }
    },
  }
}

function heard({ history, now }: World, server: SimServer, { key, type }: SessionEvent): void {
  const { node } = server
  if (server.state === 'down') return
  history.events.push({ at: now, node, type, key })
  const name = key === undefined ? '' : (history.sessions.get(key)?.name ?? 'another session')
  history.note(() => `${node} event ${type} ${name}`)
  if (type === 'degraded') {
    server.degraded = { node, from: now, to: Number.POSITIVE_INFINITY }
    history.degraded.push(server.degraded)
  }
  if (type === 'recovered' && server.degraded !== undefined) server.degraded.to = now
}

function noted(request: RequestFacts, opening: Opening): Opening {
  request.opening = opening.outcome
  request.reason = opening.outcome === 'gone' ? opening.reason : undefined
  request.regressed = opening.outcome === 'regressed'
  return opening
}

/** What code of a dead process still asks for never happens. */
function mortal(runtime: VirtualRuntime, server: SimServer): Runtime {
  const alive = (): boolean => server.state !== 'down'
  return {
    now: runtime.now,
    monotonic: runtime.monotonic,
    randomBytes: runtime.randomBytes,
    setTimer: (ms, run) => (alive() ? runtime.setTimer(ms, run) : { cancel: () => undefined }),
    defer: (run) => {
      if (alive()) runtime.defer(run)
    },
  }
}
