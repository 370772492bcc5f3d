const ABSOLUTE = /^https?:\/\/([^/?#]*)/i

/**
 * The path and query of a request target (RFC 9112, section 3.2), or undefined: refuse it with 400. An absolute target never
 * chooses where a request goes: it must name the host that the Host header names. `//host/path` becomes `/host/path`, so that
 * no server behind takes it for another origin.
 */
export function pathOf(target: string, host: string | undefined): string | undefined {
  const absolute = ABSOLUTE.exec(target)
  if (absolute !== null) {
    if (absolute[1]?.toLowerCase() !== host?.toLowerCase()) return undefined
    const rest = target.slice(absolute[0].length)
    return pathOf(rest.startsWith('/') ? rest : `/${rest}`, host)
  }
  if (target.charCodeAt(0) !== 0x2f || !/^[\u0021-\u00ff]+$/.test(target)) return undefined
  const second = target.charCodeAt(1)
  if (second !== 0x2f && second !== 0x5c) return target
  return `/${target.replace(/^[/\\]+/, '')}`
}
