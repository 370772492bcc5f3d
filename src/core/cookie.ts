import { type SetCookie, stringifySetCookie } from 'cookie'
import type { CookieOptions } from '../types.ts'

/** Everything about our cookies that does not change from answer to answer. */
export interface CookieSettings {
  readonly name: string
  readonly path: string
  readonly domain?: string
  readonly sameSite: 'lax' | 'strict' | 'none'
  readonly secure: boolean
  readonly partitioned: boolean
  readonly priority?: 'low' | 'medium' | 'high'
  readonly persistent: boolean
}

/** The settings that `options` give, with the safe defaults of OWASP ASVS 5, 3.3. */
export function cookieSettings(options: CookieOptions, environment: string | undefined): CookieSettings {
  const secure = options.secure ?? (environment !== 'development' && environment !== 'test')
  const path = options.path ?? '/'
  const prefix = !secure ? '' : options.domain === undefined && path === '/' ? '__Host-' : '__Secure-'
  return {
    name: options.name ?? `${prefix}session`,
    path,
    ...(options.domain !== undefined && { domain: options.domain }),
    sameSite: options.sameSite ?? 'lax',
    secure,
    partitioned: options.partitioned ?? false,
    ...(options.priority !== undefined && { priority: options.priority }),
    persistent: options.persistent ?? false,
  }
}

/** What contradicts itself in these settings, one sentence each (RFC 6265bis, sections 4.1.3 and 5.6). */
export function cookieProblems(settings: CookieSettings): string[] {
  const problems: string[] = []
  const { name, path, domain, secure } = settings
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) problems.push('cookie.name: use 1 to 64 letters, digits, "_" and "-".')
  if (name.startsWith('__Host-') && (!secure || domain !== undefined || path !== '/')) {
    problems.push('cookie.name: "__Host-" needs secure: true, path "/" and no domain.')
  }
  if (name.startsWith('__Secure-') && !secure) problems.push('cookie.name: "__Secure-" needs secure: true.')
  if (!path.startsWith('/') || /[;,\s]/.test(path)) problems.push('cookie.path: start with "/", without spaces, ";" and ",".')
  if (domain !== undefined && !/^[A-Za-z0-9.-]+$/.test(domain)) problems.push('cookie.domain: give a host name.')
  if (settings.sameSite === 'none' && !secure) problems.push('cookie.sameSite: "none" needs secure: true.')
  if (settings.partitioned && !secure) problems.push('cookie.partitioned: needs secure: true.')
  return problems
}

/** Writes Set-Cookie values; the attributes are put into text once. */
export interface CookieWriter {
  set(name: string, value: string, persistentUntil: number | undefined, now: number): string
  delete(name: string): string
}

export function cookieWriter(settings: CookieSettings): CookieWriter {
  const { name: _name, persistent: _persistent, ...attributes } = settings
  const text = (more: Partial<SetCookie>): string =>
    stringifySetCookie({ name: 'n', value: 'v', ...attributes, httpOnly: true, ...more }).slice('n=v'.length)
  const session = text({})
  const deleted = text({ maxAge: 0, expires: new Date(0) })
  return {
    set(name, value, persistentUntil, now) {
      if (persistentUntil === undefined) return `${name}=${value}${session}`
      const maxAge = Math.max(0, Math.floor((persistentUntil - now) / 1000))
      return `${name}=${value}; Max-Age=${maxAge}${session}`
    },
    delete: (name) => `${name}=${deleted}`,
  }
}
