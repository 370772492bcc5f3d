/** Name and value are all a loopback visitor needs; an end in the past removes the cookie (RFC 6265, section 5.2). */
export function keepCookie(cookies: Map<string, string>, line: string): void {
  const [pair = '', ...attributes] = line.split(';')
  const equals = pair.indexOf('=')
  const name = pair.slice(0, equals).trim()
  const gone = attributes.some((attribute) => {
    const [kind = '', value = ''] = attribute.split('=').map((part) => part.trim())
    if (kind.toLowerCase() === 'max-age') return Number(value) <= 0
    return kind.toLowerCase() === 'expires' && Date.parse(value) <= Date.now()
  })
  if (gone) cookies.delete(name)
  else cookies.set(name, pair.slice(equals + 1).trim())
}
