/**
 * Words that the commonest passwords are made of, as they are or with digits and signs around them: the first that anybody tries.
 * In lower case, letters and digits only.
 */
export const commonWords: ReadonlySet<string> = new Set(
  `
  password passwort passw0rd motdepasse contrasena contraseña wachtwoord haslo parola senha salasana heslo
  passcode passphrase pass passpass passwordpassword mypassword thepassword newpassword oldpassword yourpassword
  letmein letmeinnow welcome welcomeback willkommen bienvenue bienvenido benvenuto
  admin administrator adminadmin root rootroot toor superuser sysadmin superadmin master webmaster guest user username
  login logmein signin default changeme changeit changemenow secret topsecret secure security private access
  test testing tester testtest testuser temp temporary example sample demo
  qwerty qwertyu qwertyui qwertyuiop qwertz qwertzui qwertzuiop azerty azertyuiop asdf asdfgh asdfghj asdfghjkl zxcvbn zxcvbnm
  qwerasdf qweasd qweasdzxc qazwsx qazwsxedc wsxedc zaqwsx zaqxsw qwer qwe asd zxc asdzxc poiuytrewq lkjhgfdsa mnbvcxz
  iloveyou iloveu ilovehim iloveher loveyou loveme lovely loverboy lovergirl mylove truelove forever sweetheart darling honey
  princess sunshine rainbow butterfly flower angel angels babygirl babyboy beautiful cutie sweetie buttercup
  dragon monkey tiger lion panther eagle falcon dolphin chicken turtle rabbit kitten puppy shadow phoenix unicorn
  football baseball basketball softball hockey soccer volleyball tennis golfer fussball liverpool arsenal chelsea everton
  manchester manutd barcelona realmadrid juventus yankees cowboys steelers lakers packers redsox patriots eagles
  superman batman spiderman ironman wolverine deadpool captain starwars skywalker startrek matrix pokemon pikachu naruto
  minecraft fortnite roblox playstation nintendo xbox mario zelda counterstrike warcraft
  michael jennifer jessica jordan michelle daniel joshua matthew andrew anthony thomas charlie robert william nicole ashley
  amanda hannah samantha elizabeth maggie ginger george jonathan alexander christopher benjamin brandon justin patrick
  victoria charlotte stephanie melissa danielle christian sebastian valentina francesco alejandro andreas stefan
  computer internet google facebook microsoft windows apple samsung android iphone linkedin instagram twitter youtube
  mustang corvette ferrari porsche mercedes harley yamaha camaro
  summer winter autumn spring january february march april june july august september october november december
  monday tuesday wednesday thursday friday saturday sunday sommer herbst
  jesus jesuschrist godbless heaven blessed blessing faith trustno trustnoone trustme
  cookie cookies chocolate banana pepper cheese coffee pizza candy
  freedom america canada england london paris berlin germany australia brasil mexico india
  hello helloworld helloyou goodbye whatever nothing something anything nopassword none blank
  killer hunter ranger soldier warrior ninja samurai maverick gangster thunder lightning diamond silver golden
  metallica slipknot blink nirvana eminem michaeljackson
  fuckyou fuckoff asshole bullshit biteme sexy sexygirl pussy
  money business success fortune million company office manager service support
  abc abcd abcde abcdef abcdefg abcdefgh abcabc xyz xxx aaa zzz
  zerda fennec
  `
    .split(/\s+/)
    .filter((word) => word !== ''),
);
