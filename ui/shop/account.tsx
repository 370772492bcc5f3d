import { controlUrl } from './control-url.ts'
import { answer, login, logout } from './session.ts'

const USERS = ['ada', 'bob', 'cleo', 'dev']

export function Account() {
  const user = answer.value?.user ?? null
  const key = answer.value?.key ?? null
  return (
    <section class="panel block account" aria-label="Account">
      <h2>
        {user === null ? (
          'Log in as'
        ) : (
          <>
            Logged in as <b data-user={user}>{user}</b>
          </>
        )}
      </h2>
      <div class="row">
        {user === null ? (
          USERS.map((name) => (
            <button type="button" key={name} data-login={name} onClick={() => void login(name)}>
              {name}
            </button>
          ))
        ) : (
          <>
            <button type="button" data-logout="here" onClick={() => void logout(false)}>
              Log out
            </button>
            <button type="button" data-logout="everywhere" onClick={() => void logout(true)}>
              Log out everywhere
            </button>
          </>
        )}
      </div>
      <p class="soft small">
        {key === null ? (
          'No session yet'
        ) : (
          <>
            Session <code title="SHA-256 of the session id: safe to show">{key.slice(0, 8)}…</code>{' '}
            {controlUrl !== undefined && (
              <a href={`${controlUrl}/#session=${key}`} target="holdfast-control">
                Where does it live?
              </a>
            )}
          </>
        )}
      </p>
    </section>
  )
}
