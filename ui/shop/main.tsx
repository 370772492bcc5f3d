import { render } from 'preact'
import { Account } from './account.tsx'
import { Banner } from './banner.tsx'
import { Cart } from './cart.tsx'
import { Catalogue } from './catalogue.tsx'
import { controlUrl } from './control-url.ts'
import { ServedBy } from './served-by.tsx'
import { load } from './session.ts'

function Shop() {
  return (
    <>
      <header class="top">
        <h1>
          Tidewater <span>Supply</span>
        </h1>
        <nav class="row">
          <a class="button" href="/" target="_blank" rel="noreferrer">
            Open a second tab
          </a>
          {controlUrl !== undefined && (
            <a class="button" href={controlUrl} target="holdfast-control">
              Watch the cluster
            </a>
          )}
        </nav>
      </header>
      <main>
        <Banner />
        <div class="columns">
          <Catalogue />
          <div class="side">
            <Account />
            <Cart />
            <ServedBy />
          </div>
        </div>
      </main>
      <footer class="soft small">A shop that sells nothing. It shows what happens to your session when servers come and go.</footer>
    </>
  )
}

render(<Shop />, document.querySelector('#app') as Element)
void load()
