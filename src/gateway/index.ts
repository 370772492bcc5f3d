/** A reverse proxy that keeps visitors with their sessions: policies, health checks, fail-over, drain, WebSockets. */
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { SessionError } from '../errors.ts'
import { exchange } from './exchange.ts'
import { createHealth } from './health.ts'
import { type GatewayOptions, type GatewaySettings, gatewaySettings, joiningServer, type ServerAddress } from './options.ts'
import { createPicker } from './picker.ts'
import type { ServerEvent, ServerState } from './server-event.ts'
import { createServers, type Server } from './servers.ts'
import { upgrade } from './upgrade.ts'

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
  listen(): Promise<{ url: string; port: number }>
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
  /** Returns the function that stops listening. */
  on(type: ServerEvent['type'], listener: (event: ServerEvent) => void): () => void
  /** Requests under way get `graceMs` (default 1 s); WebSockets are cut. */
  close(graceMs?: number): Promise<void>
}

const DRAIN_MS = 30_000
const REMOVE_MS = 10_000
const CLOSE_MS = 1_000
const CLIENT_HEADERS_MS = 30_000
const KEEP_ALIVE_MS = 65_000

/** Throws CONFIG_INVALID with all problems. Nothing is opened before `listen`. */
export function createGateway(options: GatewayOptions): Gateway {
  const settings = gatewaySettings(options)
  const listeners = new Map<ServerEvent['type'], Set<(event: ServerEvent) => void>>()
  const counts = { requests: 0, failed: 0, retried: 0 }
  const servers = createServers(settings, notify)
  const health = createHealth(settings.health, servers)
  const picker = createPicker(settings.policy, settings.routeCookie, servers)
  const upgraded = new Set<Duplex>()
  const count = (status: number): void => void (status >= 500 && counts.failed++)
  const context = { ...settings, servers, picker, count }
  let http: HttpServer | undefined
  let closing: Promise<void> | undefined
  for (const address of settings.to) servers.add(address)

  function notify(event: ServerEvent): void {
    if (event.type === 'retry') counts.retried++
    if (event.type === 'down') settings.logger?.warn(`Gateway: server ${event.id} is down: ${event.why}.`)
    for (const listener of listeners.get(event.type) ?? []) listener(event)
  }

  async function listen(): Promise<{ url: string; port: number }> {
    if (closing !== undefined) throw new SessionError('SESSIONS_CLOSED', 'The gateway is closed: create a new one.')
    if (http !== undefined) throw new SessionError('CONFIG_INVALID', 'The gateway listens already: call listen() once.')
    http = frontOf(settings)
    http.on('request', (request, response) => {
      counts.requests++
      exchange(context, request, response)
    })
    http.on('upgrade', (request, socket, early) => {
      counts.requests++
      upgraded.add(socket)
      socket.on('close', () => upgraded.delete(socket))
      upgrade(context, request, socket, early)
    })
    const port = await opened(http, settings).catch((error: unknown) => {
      http = undefined
      throw error
    })
    await Promise.all(servers.list.map((server) => health.watch(server)))
    return { url: `http://${settings.host.includes(':') ? `[${settings.host}]` : settings.host}:${port}`, port }
  }

  function known(id: string): Server {
    const server = servers.find(id)
    if (server === undefined) throw new SessionError('CONFIG_INVALID', `The gateway has no server ${id}: see servers().`)
    return server
  }

  async function add(given: string | ServerAddress): Promise<void> {
    if (closing !== undefined) throw new SessionError('SESSIONS_CLOSED', 'The gateway is closed: create a new one.')
    const server = servers.add(joiningServer(given, servers.list))
    if (http !== undefined) await health.watch(server)
  }

  async function drain(id: string, deadlineMs: number = DRAIN_MS): Promise<void> {
    const server = known(id)
    servers.drain(server)
    await servers.whenIdle(server, deadlineMs)
  }

  async function remove(id: string, deadlineMs: number = REMOVE_MS): Promise<void> {
    const server = known(id)
    health.unwatch(server)
    servers.remove(server)
    if (closing === undefined) await servers.whenIdle(server, deadlineMs)
    await discard(server)
  }

  async function shut(graceMs: number): Promise<void> {
    health.close()
    for (const socket of upgraded) socket.destroy()
    if (http !== undefined) await closed(http, graceMs)
    await Promise.all([...servers.list].map(discard))
  }

  return {
    listen,
    servers: () =>
      servers.list.map(({ id, url, state, requests, failures, underWay }) => ({
        id,
        url,
        state,
        requests,
        failures,
        active: underWay.size,
      })),
    totals: () => ({ ...counts }),
    add,
    drain,
    resume: (id) => servers.resume(known(id)),
    remove,
    on(type, listener) {
      const all = listeners.get(type) ?? new Set()
      listeners.set(type, all.add(listener))
      return () => void all.delete(listener)
    },
    close: (graceMs = CLOSE_MS) => (closing ??= shut(graceMs)),
  }
}

function frontOf(settings: GatewaySettings): HttpServer {
  const http = createServer({
    insecureHTTPParser: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: CLIENT_HEADERS_MS,
    // Long uploads are fine as long as they move: idle connections are closed below.
    requestTimeout: 0,
    // Node 24.9 and newer: any other protocol is ignored, as RFC 9110, section 7.8 allows; older ones refuse it.
    shouldUpgradeCallback: (request) => request.headers.upgrade?.trim().toLowerCase() === 'websocket',
  })
  // The servers' own deadline comes first, and with it an answer that says why.
  http.setTimeout(settings.idleTimeoutMs + 1_000)
  return http
}

function opened(http: HttpServer, { port, host, logger }: GatewaySettings): Promise<number> {
  return new Promise((resolve, reject) => {
    http.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error)
      reject(
        new SessionError('PORT_IN_USE', `Port ${port} on ${host} is in use: stop what listens there or choose another port.`, {
          cause: error,
        }),
      )
    })
    http.listen(port, host, () => {
      http.removeAllListeners('error').on('error', (error) => logger?.error(`Gateway: ${error.message}`))
      resolve((http.address() as AddressInfo).port)
    })
  })
}

async function closed(http: HttpServer, graceMs: number): Promise<void> {
  if (!http.listening) return
  const timer = setTimeout(() => http.closeAllConnections(), graceMs)
  await new Promise<void>((resolve) => {
    http.close(() => resolve())
    http.closeIdleConnections()
  })
  clearTimeout(timer)
}

async function discard(server: Server): Promise<void> {
  for (const what of [...server.underWay]) what.end()
  await server.pool.destroy()
}
