/** A reverse proxy that keeps visitors with their sessions: policies, health checks, fail-over, drain, WebSockets. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SessionError } from '../errors.ts'
import { type AccessEntry, accessLine } from './access-log.ts'
import { exchange } from './exchange.ts'
import { closed, connectionsOf, createFront, type Front, opened } from './front.ts'
import { createHealth } from './health.ts'
import { createMetrics } from './metrics.ts'
import { createMetricsServer } from './metrics-server.ts'
import { type GatewayOptions, gatewaySettings, joiningServer, type ServerAddress, serverList } from './options.ts'
import { createPicker } from './picker.ts'
import { createPipeline } from './pipeline.ts'
import type { ClientRequest, ClientResponse } from './reply.ts'
import type { ServerEvent, ServerState } from './server-event.ts'
import { createServers, type Server } from './servers.ts'
import { createTrust } from './trust.ts'
import { upgrade } from './upgrade.ts'

export type { AccessLine } from './access-log.ts'
export type { GatewayOptions, PolicyName, ServerAddress } from './options.ts'
export type { ServerEvent, ServerState } from './server-event.ts'

export interface GatewayServer extends ServerAddress {
  readonly state: ServerState
  /** Sent to it, retries of others included. */
  readonly requests: number
  /** Connections that failed or broke. */
  readonly failures: number
  /** Under way now, WebSockets included. */
  readonly active: number
  /** Waiting for it to have room. */
  readonly waiting: number
}

export interface GatewayTotals {
  /** Requests received, upgrades included. */
  readonly requests: number
  /** Answers of 500 and above, those of the servers included, and answers that broke off. */
  readonly failed: number
  /** Requests sent to a further server. */
  readonly retried: number
}

export interface Gateway {
  /** Resolves once the first health check of every server has ended. Rejects with PORT_IN_USE. */
  listen(): Promise<{ url: string; port: number; metricsPort?: number }>
  servers(): GatewayServer[]
  totals(): GatewayTotals
  /** Resolves once its first health check has ended. Throws CONFIG_INVALID for one that is there already. */
  add(server: string | ServerAddress): Promise<void>
  /**
   * Sends it nothing new. Resolves when nothing is under way there, at the latest after `deadlineMs` (default 30 s). Ends when the
   * server's process does, seen by a health check, or with `resume`: it takes requests again once a check succeeds.
   */
  drain(id: string, deadlineMs?: number): Promise<void>
  resume(id: string): void
  /** Drains it, then forgets it; what is still under way after `deadlineMs` (default 10 s) is cut. */
  remove(id: string, deadlineMs?: number): Promise<void>
  /**
   * Makes this the list of servers, in this order. Those that stay keep what is under way; those that go are drained as by `remove`;
   * one whose address changed is a new one. Resolves once new ones have had their first health check and old ones are gone. Throws
   * CONFIG_INVALID, and changes nothing, for a list with problems.
   */
  setServers(to: readonly (string | ServerAddress)[]): Promise<void>
  /** Prometheus text. */
  metrics(): string
  /** Returns the function that stops listening. */
  on(type: ServerEvent['type'], listener: (event: ServerEvent) => void): () => void
  /** Requests under way get `graceMs` (default 1 s); WebSockets are cut. */
  close(graceMs?: number): Promise<void>
}

const DRAIN_MS = 30_000
const REMOVE_MS = 10_000
const CLOSE_MS = 1_000

/** Throws CONFIG_INVALID with all problems. Nothing is opened before `listen`. */
export function createGateway(options: GatewayOptions): Gateway {
  const settings = gatewaySettings(options)
  const { accessLog, logger } = settings
  const listeners = new Map<ServerEvent['type'], Set<(event: ServerEvent) => void>>()
  const counts = { requests: 0, failed: 0, retried: 0 }
  const servers = createServers(settings, notify)
  const health = createHealth(settings.health, servers)
  const picker = createPicker({ ...settings, secure: settings.tls !== undefined }, servers)
  const metrics = createMetrics(() => counts)
  const inTurn = createPipeline()
  const twins = new Set<string>()
  const upgraded = new Set<Duplex>()
  const context = { ...settings, servers, picker, trust: createTrust(settings.trustForwarded), done }
  let front: { server: Front; connections: Set<Socket> } | undefined
  let forMetrics: { server: Front; connections: Set<Socket> } | undefined
  let closing: Promise<void> | undefined
  for (const address of settings.to) servers.add(address)

  function done(entry: AccessEntry): void {
    if (entry.status >= 500) counts.failed++
    metrics.answered(entry.server, entry.status, performance.now() - entry.startedAt)
    accessLog?.(accessLine(entry))
  }

  function notify(event: ServerEvent): void {
    if (event.type === 'retry') counts.retried++
    if (event.type === 'down') logger?.warn(`Gateway: server ${event.id} is down: ${event.why}.`)
    if (event.type === 'twin' && !twins.has(event.id)) logger?.warn(`Gateway: server ${event.id}: ${event.why}.`)
    if (event.type === 'twin') twins.add(event.id)
    for (const listener of listeners.get(event.type) ?? []) listener(event)
  }

  function refuseClosed(): void {
    if (closing !== undefined) throw new SessionError('SESSIONS_CLOSED', 'The gateway is closed: create a new one.')
  }

  async function listen(): Promise<{ url: string; port: number; metricsPort?: number }> {
    refuseClosed()
    if (front !== undefined) throw new SessionError('CONFIG_INVALID', 'The gateway listens already: call listen() once.')
    const server = createFront(settings)
    front = { server, connections: connectionsOf(server) }
    server.on('request', (request: ClientRequest, response: ClientResponse) => {
      counts.requests++
      inTurn(request, response, () => exchange(context, request, response))
    })
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, early: Buffer) => {
      counts.requests++
      upgraded.add(socket)
      socket.on('close', () => upgraded.delete(socket))
      upgrade(context, request, socket, early)
    })
    const port = await opened(server, settings).catch((error: unknown) => {
      front = undefined
      throw error
    })
    const metricsPort = await listenForMetrics()
    await Promise.all(servers.list.map((one) => health.watch(one)))
    const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host
    const url = `${settings.tls === undefined ? 'http' : 'https'}://${host}:${port}`
    return { url, port, ...(metricsPort !== undefined && { metricsPort }) }
  }

  async function listenForMetrics(): Promise<number | undefined> {
    if (settings.metrics === undefined) return undefined
    const { host, port } = settings.metrics
    const server = createMetricsServer(host, () => metrics.text(servers))
    forMetrics = { server, connections: connectionsOf(server) }
    return opened(server, { host, port, logger })
  }

  function known(id: string): Server {
    const server = servers.find(id)
    if (server === undefined) throw new SessionError('CONFIG_INVALID', `The gateway has no server ${id}: see servers().`)
    return server
  }

  async function join(address: ServerAddress): Promise<void> {
    const server = servers.add(address, front !== undefined)
    if (front !== undefined) await health.watch(server)
  }

  async function add(given: string | ServerAddress): Promise<void> {
    refuseClosed()
    await join(joiningServer(given, servers.list))
  }

  async function setServers(given: readonly (string | ServerAddress)[]): Promise<void> {
    refuseClosed()
    const wanted = serverList(given)
    const isWanted = (server: Server): boolean => wanted.some(({ id, url }) => id === server.id && url === server.url)
    const going = servers.list.filter((server) => !isWanted(server))
    const left = going.map((server) => leave(server, REMOVE_MS))
    const joined = wanted.filter(({ id }) => servers.find(id) === undefined).map(join)
    servers.arrange(wanted.map(({ id }) => id))
    await Promise.all([...left, ...joined])
  }

  async function drain(id: string, deadlineMs: number = DRAIN_MS): Promise<void> {
    const server = known(id)
    servers.drain(server)
    await servers.whenIdle(server, deadlineMs)
  }

  async function leave(server: Server, deadlineMs: number): Promise<void> {
    health.unwatch(server)
    servers.remove(server)
    if (closing === undefined) await servers.whenIdle(server, deadlineMs)
    discard(server)
  }

  async function shut(graceMs: number): Promise<void> {
    health.close()
    for (const socket of upgraded) socket.destroy()
    if (forMetrics !== undefined) await closed(forMetrics.server, forMetrics.connections, 0)
    if (front !== undefined) await closed(front.server, front.connections, graceMs)
    for (const server of [...servers.list]) discard(server)
  }

  return {
    listen,
    servers: () => servers.list.map(shown),
    totals: () => ({ ...counts }),
    add,
    drain,
    resume: (id) => servers.resume(known(id)),
    remove: async (id, deadlineMs = REMOVE_MS) => leave(known(id), deadlineMs),
    setServers,
    metrics: () => metrics.text(servers),
    on(type, listener) {
      const all = listeners.get(type) ?? new Set()
      listeners.set(type, all.add(listener))
      return () => void all.delete(listener)
    },
    close: (graceMs = CLOSE_MS) => (closing ??= shut(graceMs)),
  }
}

function shown({ id, url, state, requests, failures, underWay, line }: Server): GatewayServer {
  return { id, url, state, requests, failures, active: underWay.size, waiting: line.size }
}

function discard(server: Server): void {
  for (const what of [...server.underWay]) what.end()
  server.line.sendAway()
  server.pool.destroy()
}
